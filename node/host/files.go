package host

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quorate/config"
)

// OSFiles is a config.Source on this host's file system.
type OSFiles struct{}

var _ config.Source = OSFiles{}

// maxFile bounds one configuration file; /dev/zero is a file too.
const maxFile = 16 << 20

// ReadFile returns the contents of a regular file.
func (OSFiles) ReadFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	st, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if st.IsDir() {
		return nil, fmt.Errorf("read %s: is a directory", path)
	}
	b, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err == nil && len(b) > maxFile {
		err = fmt.Errorf("read %s: larger than %d bytes", path, maxFile)
	}
	return b, err
}

// Glob returns the sorted paths that match. A wildcard does not match a leading dot. Directories are left out.
func (OSFiles) Glob(pattern string) ([]string, error) {
	names, err := filepath.Glob(pattern)
	if err != nil {
		return nil, fmt.Errorf("pattern %q: %w", pattern, err)
	}
	slices.Sort(names)
	return slices.DeleteFunc(names, func(n string) bool {
		st, err := os.Stat(n)
		return hiddenByWildcard(pattern, n) || err == nil && st.IsDir()
	}), nil
}

// hiddenByWildcard reports whether a wildcard of the pattern matched a leading dot.
func hiddenByWildcard(pattern, path string) bool {
	ps, ns := strings.Split(filepath.Clean(pattern), "/"), strings.Split(path, "/")
	for i := range min(len(ps), len(ns)) {
		if strings.HasPrefix(ns[i], ".") && !strings.HasPrefix(ps[i], ".") {
			return true
		}
	}
	return false
}

// Mode returns the permissions of a file, for the finding about passwords that everybody can read.
func (OSFiles) Mode(path string) (fs.FileMode, error) {
	st, err := os.Stat(path)
	if err != nil {
		return 0, err
	}
	return st.Mode(), nil
}

var (
	_ config.Modes       = OSFiles{}
	_ config.Environment = OSFiles{}
)

// Env is the environment of this process, for ${_ENV NAME} in a file that this host alone
// runs. A configuration that is pushed is read without one.
func (OSFiles) Env(name string) (string, bool) { return os.LookupEnv(name) }
