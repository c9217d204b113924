// Verifies tokens with jose, which shares no code with us. Tokens come on stdin,
// one a line; on stdout there is for each "good" or the code of the refusal.
//
//   node verify.mjs JWKS_URL ISSUER AUDIENCE

import { createInterface } from 'node:readline';
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

// jose comes with the provider of the tests.
const require = createRequire(new URL('./providers/op9/', import.meta.url));
const { createRemoteJWKSet, jwtVerify } = await import(pathToFileURL(require.resolve('jose')));

const [jwks, issuer, audience] = process.argv.slice(2);
const keys = createRemoteJWKSet(new URL(jwks));
for await (const token of createInterface({ input: process.stdin })) {
  try {
    await jwtVerify(token, keys, { issuer, audience, requiredClaims: ['sub', 'exp', 'iat', 'jti'] });
    console.log('good');
  } catch (error) {
    console.log(error.code ?? String(error));
  }
}
