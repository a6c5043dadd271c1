// Package buildinfo says which build of quorate runs.
package buildinfo
