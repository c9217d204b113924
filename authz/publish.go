package authz

import "strings"

// Publish answers for the public documents of the minted token outside an app's
// prefix, where an upstream fetches them without passing the proxy. The keys
// are every app's; the metadata is that of the app that the request names by
// its host, or of the only one.
func (a *Authorizer) Publish(req Request) Decision {
	if req.Method != "GET" && req.Method != "HEAD" {
		d := Failed(WrongMethod, nil)
		d.Client.Set("Allow", "GET, HEAD")
		return d
	}
	if len(a.Routes.apps) == 0 {
		return Failed(NotFound, nil)
	}
	app := a.Routes.apps[0]
	if named := a.Routes.hosts[canonicalHost(req.Host)]; named != nil {
		app = named.apps[0]
	} else if len(a.Routes.apps) > 1 && !strings.HasSuffix(req.Path, "/jwks.json") {
		return Failed(NotFound, nil)
	}
	v := visit{now: a.now(), rule: &Rule{App: app, Name: "published"}, req: req}
	if strings.HasSuffix(req.Path, "/jwks.json") {
		return a.showKeys(v)
	}
	return a.showMetadata(v)
}
