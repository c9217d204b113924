// A real OpenID provider for the tests: oidc-provider with one client, a login
// page that believes any name, and no consent screen. It serves loopback only
// and forgets everything when it ends.
//
//   OP_DIR=op9 CALLBACK=https://app.example.test/oauth2/callback node provider.mjs
//
// OP_DIR               op7 or op9, a folder beside this file: which release
// PORT                 0 (default) takes a free one
// ISSUER               default http://127.0.0.1:PORT
// CALLBACK             redirect URIs, separated by commas
// POST_LOGOUT          where a logout may return to, separated by commas
// BACKCHANNEL_LOGOUT   where logout tokens are posted; none by default
// ID_TOKEN_ALG         ES256 (default) or RS256
// USERINFO_ALG         signs the userinfo answer; plain JSON when it is unset
// CLAIMS_IN_ID_TOKEN   1 (default); 0 leaves them to the userinfo endpoint
// ACCESS_TOKEN_TTL     seconds, default 3600
//
// The first line on stdout is "ready ISSUER"; everything else goes to stderr.

import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

const env = process.env;
console.info = console.warn = console.error; // oidc-provider's notices

const list = (value) => (value ?? '').split(',').map((s) => s.trim()).filter(Boolean);
const escape = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const page = (title, body) => `<!doctype html><html lang="en"><title>${title}</title><main><h1>${title}</h1>${body}</main></html>`;

/** Loads the Provider class of the release that dir has installed. */
async function load(dir) {
  const base = new URL(`${dir}/`, import.meta.url);
  const entry = createRequire(fileURLToPath(base)).resolve('oidc-provider');
  const library = await import(pathToFileURL(entry));
  return library.Provider ?? library.default.Provider ?? library.default; // 7.x is CommonJS, 9.x is not
}

/** A private key as a JWK; every run has new ones. */
function key(alg) {
  const pair = alg === 'RS256'
    ? generateKeyPairSync('rsa', { modulusLength: 2048 })
    : generateKeyPairSync('ec', { namedCurve: 'P-256' });
  return { ...pair.privateKey.export({ format: 'jwk' }), alg, use: 'sig', kid: `${alg}-${randomBytes(4).toString('hex')}` };
}

/** What is known about whoever typed user into the login page. */
function person(user) {
  return {
    sub: user,
    name: user,
    email: user.includes('@') ? user : `${user}@example.test`,
    email_verified: true,
    groups: user === 'admin' ? ['staff', 'admin'] : ['staff'],
  };
}

function client() {
  const metadata = {
    client_id: 'countersign',
    client_secret: 's3cret-s3cret-s3cret-s3cret-s3cret',
    redirect_uris: list(env.CALLBACK ?? 'http://127.0.0.1:8000/oauth2/callback'),
    post_logout_redirect_uris: list(env.POST_LOGOUT),
    grant_types: ['authorization_code', 'refresh_token'],
    id_token_signed_response_alg: env.ID_TOKEN_ALG || 'ES256',
  };
  if (env.USERINFO_ALG) metadata.userinfo_signed_response_alg = env.USERINFO_ALG;
  if (env.BACKCHANNEL_LOGOUT) {
    metadata.backchannel_logout_uri = env.BACKCHANNEL_LOGOUT;
    metadata.backchannel_logout_session_required = true;
  }
  return metadata;
}

function configuration(release) {
  const inIDToken = (env.CLAIMS_IN_ID_TOKEN ?? '1') === '1';
  const options = {
    clients: [client()],
    jwks: { keys: [key('ES256'), key('RS256')] },
    cookies: { keys: [randomBytes(32).toString('hex')] },
    ttl: { AccessToken: Number(env.ACCESS_TOKEN_TTL || 3600) },
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: () => true, // offline_access or not
    conformIdTokenClaims: false, // findAccount below decides
    claims: {
      openid: ['sub', 'groups'],
      profile: ['name'],
      email: ['email', 'email_verified'],
      groups: ['groups'],
      // A list of our own replaces the default one, so these are said again.
      acr: null, amr: null, auth_time: null, iss: null, sid: null,
    },
    findAccount: (ctx, user) => ({
      accountId: user,
      claims: (use) => (use === 'id_token' && !inIDToken ? { sub: user } : person(user)),
    }),
    interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
    loadExistingGrant, // no consent screen
    // The library's own pages fetch a web font, which a test machine cannot.
    renderError: (ctx, out) => {
      ctx.type = 'html';
      ctx.body = page('Error', `<pre>${escape(JSON.stringify(out))}</pre>`);
    },
    features: {
      devInteractions: { enabled: false },
      userinfo: { enabled: true },
      jwtUserinfo: { enabled: Boolean(env.USERINFO_ALG) },
      revocation: { enabled: true },
      backchannelLogout: { enabled: true },
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: (ctx, form) => {
          ctx.body = page('Sign out?', `${form}<button form="op.logoutForm" name="logout" value="yes">Sign out</button>`);
        },
        postLogoutSuccessSource: (ctx) => { ctx.body = page('Signed out', ''); },
      },
    },
  };
  // 9.x sends nothing to loopback addresses, which is where the tests listen.
  if (release !== 'op7') options.fetch = (url, { dispatcher, ...rest }) => globalThis.fetch(url, rest);
  return options;
}

/** Grants each scope that was asked for. */
async function loadExistingGrant(ctx) {
  const { client: { clientId }, session, params, provider } = ctx.oidc;
  const known = session.grantIdFor(clientId);
  const grant = (known && await provider.Grant.find(known))
    || new provider.Grant({ clientId, accountId: session.accountId });
  grant.addOIDCScope(params.scope);
  await grant.save();
  return grant;
}

const loginForm = (hint) => page('Sign in', `<form method="post">
<label for="user">User</label> <input id="user" name="user" value="${escape(hint ?? '')}" autocomplete="username" required autofocus>
<button id="login">Sign in</button></form>`);

async function posted(request) {
  let body = '';
  for await (const chunk of request) body += chunk;
  return new URLSearchParams(body);
}

/** The login page: a form on GET, the end of the interaction on POST. */
function login(provider) {
  return async (ctx, next) => {
    if (!/^\/interaction\/[^/]+$/.test(ctx.path)) return next();
    const { params } = await provider.interactionDetails(ctx.req, ctx.res);
    const user = ctx.method === 'POST' && (await posted(ctx.req)).get('user');
    if (!user) {
      ctx.type = 'html';
      ctx.body = loginForm(params.login_hint);
      return undefined;
    }
    await provider.interactionFinished(ctx.req, ctx.res, { login: { accountId: user, amr: ['pwd'] } });
    ctx.respond = false; // interactionFinished has answered
    return undefined;
  };
}

// The port is taken first, since the issuer names it.
const release = env.OP_DIR || 'op9';
const Provider = await load(release);
const server = createServer();
server.listen(Number(env.PORT || 0), '127.0.0.1', () => {
  const issuer = env.ISSUER || `http://127.0.0.1:${server.address().port}`;
  const provider = new Provider(issuer, configuration(release));
  provider.proxy = true; // behind Envoy, X-Forwarded-Proto says https
  for (const event of ['server_error', 'grant.error', 'authorization.error', 'backchannel.error']) {
    provider.on(event, (...args) => console.error(event, args.find((arg) => arg instanceof Error)?.message));
  }
  provider.use(login(provider));
  server.on('request', provider.callback());
  console.log(`ready ${issuer}`);
});
