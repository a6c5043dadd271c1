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
	s, err := f.text(p)
	return []byte(s), err
}

func (f Files) text(p string) (string, error) {
	if s, ok := f[p]; ok {
		return s, nil
	}
	if s, ok := f[path.Clean(p)]; ok {
		return s, nil
	}
	return "", fmt.Errorf("open %s: %w", p, fs.ErrNotExist)
}

// Glob returns the sorted paths that match pattern. A wildcard does not match a leading
// dot of a name (glob(3)).
func (f Files) Glob(pattern string) ([]string, error) {
	var found []string
	pattern = path.Clean(pattern)
	for name := range f {
		ok, err := path.Match(pattern, path.Clean(name))
		if err != nil {
			return nil, fmt.Errorf("pattern %q: %w", pattern, err)
		}
		hidden := strings.HasPrefix(path.Base(name), ".") && !strings.HasPrefix(path.Base(pattern), ".")
		if ok && !hidden {
			found = append(found, name)
		}
	}
	slices.Sort(found)
	return found, nil
}

// Modes is a Source that also knows the permissions of files, so that a password in a file
// that everybody can read is reported.
type Modes interface {
	Mode(path string) (fs.FileMode, error)
}

// secretAt reports a secret in a file that others can read, once per file.
func (c *ctx) secretAt(at Pos, kw string) {
	if c.modes == nil || c.facts.exposed[at.File] {
		return
	}
	if c.facts.exposed == nil {
		c.facts.exposed = map[string]bool{}
	}
	c.facts.exposed[at.File] = true
	if mode, err := c.modes.Mode(at.File); err == nil && mode&0o004 != 0 {
		c.warnf(at, "readable-secret", kw, "chmod o-rwx "+at.File, "%s has the permissions %04o: every user of this host can read the %s", at.File, mode.Perm(), kw)
	}
}

// Recorder is a Source that remembers everything read through it, so that a push can send
// the configuration as one bundle. Hand the bundle to the
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
		if r.Files == nil {
			r.Files = Files{}
		}
		r.Files[p] = string(data)
	}
	return data, err
}

// maxBranches bounds {a,b}{c,d}… patterns, which multiply.
const maxBranches = 256

// expandBraces splits a{b,c}d into abd and acd, nested and repeated, in written order.
// Unbalanced braces stay as text.
func expandBraces(pattern string) []string {
	var out []string
	expandInto("", pattern, &out)
	return out
}

// expandInto appends done+each expansion of pattern; done has no braces left to expand.
func expandInto(done, pattern string, out *[]string) {
	if len(*out) >= maxBranches {
		return
	}
	open := strings.IndexByte(pattern, '{')
	branches, end := []string(nil), -1
	if open >= 0 {
		branches, end = alternatives(pattern, open)
	}
	if end < 0 {
		*out = append(*out, done+pattern)
		return
	}
	for _, b := range branches {
		expandInto(done+pattern[:open], b+pattern[end+1:], out)
	}
}

// alternatives returns the parts between the brace at open and its partner at end.
func alternatives(pattern string, open int) (branches []string, end int) {
	depth, start := 0, open+1
	for i := open; i < len(pattern); i++ {
		switch pattern[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return append(branches, pattern[start:i]), i
			}
		case ',':
			if depth == 1 {
				branches = append(branches, pattern[start:i])
				start = i + 1
			}
		}
	}
	return nil, -1
}
