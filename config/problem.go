package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a file, or worth a warning. It never
// holds the value of a secret.
type Problem struct {
	File    string
	Line    int    // from 1
	Column  int    // from 1
	Key     string // such as apps[0].rules[2].path; empty for the file as a whole
	Message string
}

// Error returns a line such as
//
//	countersign.yaml:12:7: apps[0].rules[2].path: must start with "/"
func (p Problem) Error() string {
	place := fmt.Sprintf("%s:%d:%d: ", p.File, p.Line, p.Column)
	if p.Key == "" {
		return place + p.Message
	}
	return place + p.Key + ": " + p.Message
}

// Problems is everything that is wrong with a file, sorted by its place there.
type Problems []Problem

// Error returns one line for each problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.Error()
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems one by one, as those of errors.Join.
func (p Problems) Unwrap() []error {
	errs := make([]error, len(p))
	for i, problem := range p {
		errs[i] = problem
	}
	return errs
}

// sortProblems sorts by place. Problems of one place stay in the order in which
// they were found.
func sortProblems(problems []Problem) {
	slices.SortStableFunc(problems, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}
