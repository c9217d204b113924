package config

import (
	"path/filepath"
	"strings"

	"github.com/countersign/countersign/oidc"
)

// secret returns a secret that stands under name, or in the file that stands
// under name_file, with the path of that. It is empty where neither is given.
func (o *object) secret(name string) (secret oidc.Secret, path string) {
	inline, file := o.get(name), o.get(name+"_file")
	if inline.given() && file.given() {
		file.fail("must not stand beside %s: write one of them", name)
		return "", ""
	}
	if file.given() {
		return file.secretFile()
	}
	s, ok := inline.raw()
	if !ok {
		return "", ""
	}
	if s == "" {
		inline.fail("must not be empty")
	}
	if inline.node.said {
		inline.warn("is a secret in the configuration itself: better write %s_file, or ${VARIABLE}", name)
	}
	return oidc.Secret(s), ""
}

// secretFile returns the content of the file that v names, without the line
// break at its end, and its path.
func (v value) secretFile() (secret oidc.Secret, path string) {
	data, path, ok := v.file(maxSecretBytes)
	if !ok {
		return "", ""
	}
	s := strings.TrimSuffix(strings.TrimSuffix(string(data), "\n"), "\r")
	if s == "" {
		v.fail("%s: is empty", path)
	}
	return oidc.Secret(s), path
}

// file returns the content of the file that v names, and its path. A relative
// path begins where the configuration is.
func (v value) file(limit int64) (data []byte, path string, ok bool) {
	path, ok = v.text()
	if !ok {
		return nil, "", false
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(v.d.file), path)
	}
	data, err := v.d.env.read(path, limit)
	if err != nil {
		v.fail("%s: %v", path, err)
		return nil, "", false
	}
	return data, path, true
}

// keysFile reads the file that v names with the parser of its format.
func keysFile[Keys any](v value, parse func([]byte) (*Keys, error)) *Keys {
	data, path, ok := v.file(maxKeysBytes)
	if !ok {
		return nil
	}
	keys, err := parse(data)
	for _, err := range joined(err) {
		v.fail("%s: %v", path, err)
	}
	return keys
}
