package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// People type clusterctl, which becomes this program; so do the scripts.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"clusterctl": func() { os.Exit(realMain()) }})
}

// TestScripts runs the commands as an operator and a CI job would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{Dir: "testdata/script"})
}
