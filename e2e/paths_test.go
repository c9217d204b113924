package e2e_test

import (
	"slices"
	"testing"
)

// pathApps has a strict rule before loose ones. Nobody but an administrator may
// reach what some upstream would read as /admin.
const pathApps = `
  - url: https://app.example.test
    allow: everyone
    token: {audience: api}
    rules:
      - {path: /admin/**, allow: {groups: [admin]}}
      - {path: /repo/**}
      - {path: /files/**}
      - {path: /closed/**, access: denied}
      - {path: /**, access: public}
`

// disguises are paths that some server reads as /admin/u, or as /closed/u.
var disguises = []string{
	"/admin/u", "/admin", "/admin/",
	"/admin;x=1/u", "/admin;/u", "/admin;x=1;y/u", "/;x/admin/u", "/admin%3Bx=1/u", "/admin%3bx/u",
	"/%61dmin/u", "/%61%64%6d%69%6e/u", "/a%64min/u", "/%2561dmin/u", "/%2561dmin%252Fu",
	"/admin%2Fu", "/admin%2fu", "/%2Fadmin/u", "/%2fadmin%2fu", "/admin%252Fu",
	"//admin/u", "///admin//u", "//admin;x/u",
	"/./admin/u", "/x/../admin/u", "/x/%2e%2e/admin/u", "/x/.%2E/admin/u", "/x/..;/admin/u", "/x/..;y=1/admin/u",
	"/repo/../admin/u", "/repo/%2e%2e/admin/u", "/repo/..%2Fadmin/u", "/repo/%252e%252e/admin/u", "/files/..%5Cadmin/u",
	`/\admin/u`, `\admin/u`, `/x\..\admin/u`, "/%5Cadmin/u", "/x/..%5cadmin/u", "/x%5C..%5Cadmin/u",
	"/admin%00/u", "/admin%09/u", "/admin%0A/u", "/admin%7F/u", "/admin%/u", "/admin%zz/u", "/admin%u002f",
	"/closed/u", "/%63losed/u", "/x/../closed/u", "/closed;x/u", "//closed/u", "/closed%2fu",
}

// disguisesAsSent are disguises no longer once Envoy has rewritten them:
// "/x//.." is "/x/" to RFC 3986 §5.2.4, and "/" to who merges slashes first.
var disguisesAsSent = []string{
	"/x//../admin/u", "/x/y//../../admin/u",
	// Only a part of the servers takes what follows /admin for "..": to the WHATWG
	// URL Standard, the first of these is /admin/u.
	"/x/../admin//../u", "/x/../admin/..;/u", "/x/../admin/..;v=1/u", `/x/../admin/..\u`, "/x/../admin/%2e%2e/u",
	"/x/../admin/%252e%252e/u", "/x/../admin/..%2Fu", "/x/../admin/..%5Cu", "/x/../admin/..%3B/u",
}

func TestDisguisedPathNeverPasses(t *testing.T) {
	for _, normalise := range []bool{false, true} {
		t.Run(map[bool]string{false: "paths_as_sent", true: "envoy_normalises"}[normalise], func(t *testing.T) {
			t.Parallel()
			stack := newStack(t, setup{Apps: pathApps, Normalise: normalise})
			bob := stack.browser(t)
			bob.signInAt("/repo/x", "bob").want(t, 200)
			client := stack.wire(t)
			paths := disguises
			if !normalise {
				paths = slices.Concat(disguises, disguisesAsSent)
			}
			for who, cookie := range map[string]string{"nobody": "", "bob": bob.cookieLine()} {
				for _, path := range paths {
					before := stack.arrivals()
					a := client.get(path, cookie)
					if a.saw != nil || stack.arrivals() != before {
						t.Errorf("%s at %s: it passed, and the upstream saw %s", who, path, a.saw.target)
					}
					redirected := normalise && a.status == 307 // by Envoy, to the path without %2F
					if !redirected && (a.status < 400 || a.status > 499) {
						t.Errorf("%s at %s: status %d, want a refusal", who, path, a.status)
					}
				}
			}
		})
	}
}

func TestTwinsOfDisguisesPassUnchanged(t *testing.T) {
	for _, normalise := range []bool{false, true} {
		t.Run(map[bool]string{false: "paths_as_sent", true: "envoy_normalises"}[normalise], func(t *testing.T) {
			t.Parallel()
			stack := newStack(t, setup{Apps: pathApps, Normalise: normalise})
			bob, alice := stack.browser(t), stack.browser(t)
			bob.signInAt("/repo/x", "bob").want(t, 200)
			alice.signInAt("/repo/x", "alice").want(t, 200)
			client := stack.wire(t)
			for _, tt := range []struct {
				name, path, cookie string
				signedIn           bool
			}{
				{"nobody", "//x", "", false},
				{"nobody", "/x//y", "", false},
				{"nobody", "/x;v=1/y", "", false},
				{"nobody", "/caf%C3%A9?q=%2Fadmin/u&r=../admin", "", false},
				{"nobody", "/administrators", "", false},
				{"nobody", "/x.y/..z/.well-known/q", "", false},
				{"bob", "/repo/a%2Fb", bob.cookieLine(), true},
				{"bob", "/repo//a", bob.cookieLine(), true},
				{"bob", "/repo/a;v=1/b", bob.cookieLine(), true},
				{"bob", "/files/100%25/x", bob.cookieLine(), true},
				{"bob", "/files/%E2%82%AC", bob.cookieLine(), true},
				{"alice", "/admin/u", alice.cookieLine(), true},
				{"alice", "/admin/a%2Fb", alice.cookieLine(), true},
				{"alice", "/admin/x//y", alice.cookieLine(), true},
			} {
				a := client.get(tt.path, tt.cookie)
				if normalise && a.status == 307 {
					a = client.get(a.header.Get("Location"), tt.cookie)
				}
				if a.saw == nil {
					t.Errorf("%s at %s: status %d, want a pass", tt.name, tt.path, a.status)
					continue
				}
				if !normalise && a.saw.target != tt.path {
					t.Errorf("%s at %s: the upstream saw %s", tt.name, tt.path, a.saw.target)
				}
				if got := len(a.saw.spelled(assertion)) == 1; got != tt.signedIn {
					t.Errorf("%s at %s: the upstream learns who it is: %v", tt.name, tt.path, got)
				}
			}
			client.get("/repo/a;v=1/b").stopped(t, 401)
			client.get("/files/100%25/x").stopped(t, 401)
		})
	}
}
