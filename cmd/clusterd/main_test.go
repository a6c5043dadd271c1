package main

import (
	"os"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestMain lets the test binary be clusterd, also where clusterd starts /proc/self/exe.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && strings.HasPrefix(os.Args[1], "--worker=") {
		main()
		return
	}
	testscript.Main(m, map[string]func(){"clusterd": main})
}

// TestScripts runs clusterd as an administrator or a unit file does, as far as that needs no network of its own.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Condition: func(cond string) (bool, error) {
			return cond == "root" && os.Geteuid() == 0, nil
		},
	})
}
