package config

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Files is a Source held in memory: path to contents. A pushed bundle is one.
type Files map[string]string

var _ Source = Files(nil)

// ReadFile returns the contents of p, or an error that wraps fs.ErrNotExist.
func (f Files) ReadFile(p string) ([]byte, error) {
	if s, ok := f[p]; ok {
		return []byte(s), nil
	}
	if s, ok := f[path.Clean(p)]; ok {
		return []byte(s), nil
	}
	return nil, fmt.Errorf("open %s: %w", p, fs.ErrNotExist)
}

// Glob returns the sorted paths that match pattern. A wildcard does not match a leading
// dot of a name (glob(3)).
func (f Files) Glob(pattern string) ([]string, error) {
	var found []string
	for _, branch := range expandBraces(pattern) {
		branch = path.Clean(branch)
		for name := range f {
			ok, err := path.Match(branch, path.Clean(name))
			if err != nil {
				return nil, fmt.Errorf("pattern %q: %w", pattern, err)
			}
			hidden := strings.HasPrefix(path.Base(name), ".") && !strings.HasPrefix(path.Base(branch), ".")
			if ok && !hidden {
				found = append(found, name)
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found), nil
}

// Recorder is a Source that remembers everything read through it, so that a push can send
// the configuration as one bundle. Files must be a non-nil map. Hand the bundle to the
// receiving side with the same main path; its Glob finds exactly what was read here.
type Recorder struct {
	Source
	Files Files
}

var _ Source = (*Recorder)(nil)

// ReadFile reads through and records.
func (r *Recorder) ReadFile(p string) ([]byte, error) {
	data, err := r.Source.ReadFile(p)
	if err == nil {
		r.Files[p] = string(data)
	}
	return data, err
}

// maxBranches bounds {a,b}{c,d}… patterns, which multiply.
const maxBranches = 256

// expandBraces splits a{b,c}d into abd and acd, nested and repeated, in written order.
// Unbalanced braces stay as text.
func expandBraces(pattern string) []string {
	open := strings.IndexByte(pattern, '{')
	if open < 0 {
		return []string{pattern}
	}
	depth, start := 0, open+1
	var branches []string
	end := -1
scan:
	for i := open; i < len(pattern); i++ {
		switch pattern[i] {
		case '{':
			depth++
		case '}':
			depth--
			if depth == 0 {
				branches = append(branches, pattern[start:i])
				end = i
				break scan
			}
		case ',':
			if depth == 1 {
				branches = append(branches, pattern[start:i])
				start = i + 1
			}
		}
	}
	if end < 0 {
		return []string{pattern}
	}
	var out []string
	for _, b := range branches {
		for _, tail := range expandBraces(b + pattern[end+1:]) {
			if len(out) >= maxBranches {
				return out
			}
			out = append(out, pattern[:open]+tail)
		}
	}
	return out
}
