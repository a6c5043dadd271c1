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

// Glob returns the sorted paths that match, each once. Braces are expanded first, as glob(3) does with
// GLOB_BRACE; a wildcard does not match a leading dot. Directories are left out.
func (OSFiles) Glob(pattern string) ([]string, error) {
	var found []string
	for _, branch := range braces(pattern, 256) {
		names, err := filepath.Glob(branch)
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		for _, n := range names {
			if hiddenByWildcard(branch, n) {
				continue
			}
			if st, err := os.Stat(n); err == nil && st.IsDir() {
				continue
			}
			found = append(found, n)
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
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

// braces expands a{b,c}d into abd and acd, nested and repeated, at most limit of them.
// Unbalanced braces stay as text.
func braces(pattern string, limit int) []string {
	open := strings.IndexByte(pattern, '{')
	if open < 0 || limit < 1 {
		return []string{pattern}
	}
	depth, from := 0, open+1
	var parts []string
	for i := open; i < len(pattern); i++ {
		switch c := pattern[i]; {
		case c == '{':
			depth++
		case c == ',' && depth == 1:
			parts = append(parts, pattern[from:i])
			from = i + 1
		case c == '}' && depth == 1:
			parts = append(parts, pattern[from:i])
			var out []string
			for _, p := range parts {
				for _, tail := range braces(p+pattern[i+1:], limit-len(out)) {
					if len(out) < limit {
						out = append(out, pattern[:open]+tail)
					}
				}
			}
			return out
		case c == '}':
			depth--
		}
	}
	return []string{pattern}
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
