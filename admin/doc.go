// Package admin answers administrators: which sessions there are, and ending them.
package admin
