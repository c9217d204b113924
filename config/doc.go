// Package config reads the configuration file into values of the other packages.
//
// The file is YAML. Its keys, their defaults and their meaning are listed once,
// in reference.go, from which docs/configuration.md is written. [Load] returns
// either a complete [Config] or every [Problem] of the file, never something in
// between; it opens the files that the configuration names and nothing else.
package config
