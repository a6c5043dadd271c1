package config

import (
	"cmp"
	"reflect"
	"slices"
	"strings"
)

// What a reload must not touch: two lines that ask the kernel for the same, however they are written and whoever tracks it.

// SameAs says whether a and b are one address to the kernel.
func (a Address) SameAs(b Address) bool { return a.kernel() == b.kernel() }

func (a Address) kernel() Address {
	a.Pos, a.NoTrack, a.Scope = Pos{}, false, cmp.Or(a.Scope, "global")
	if group, ok := a.Option("track_group"); ok {
		a.Options = strings.TrimSpace(strings.Replace(a.Options, "track_group "+group, "", 1))
	}
	a.Options = strings.Join(strings.Fields(a.Options), " ")
	return a
}

// SameAs says whether r and s are one route to the kernel.
func (r Route) SameAs(s Route) bool {
	return r.Text == s.Text || reflect.DeepEqual(r.kernel(), s.kernel())
}

func (r Route) kernel() Route {
	if !hasOption(r.Options, "protocol") {
		r.NoTrack = false // or it decides whether the protocol counts
	}
	r.Text, r.Pos, r.Options = "", Pos{}, kernelOptions(r.Options)
	return r
}

// SameAs says whether r and s are one rule to the kernel.
func (r Rule) SameAs(s Rule) bool {
	return r.Key() == s.Key() || reflect.DeepEqual(r.kernel(), s.kernel())
}

func (r Rule) kernel() Rule {
	if !hasOption(r.Options, "protocol") {
		r.NoTrack = false
	}
	r.Text, r.Pos, r.Options = "", Pos{}, kernelOptions(r.Options)
	return r
}

// kernelOptions are sorted, without those that only keepalived knows.
func kernelOptions(list []Option) []Option {
	var out []Option
	for _, o := range list {
		if o.Name != "track_group" && o.Name != "inet" && o.Name != "inet6" {
			out = append(out, Option{Name: o.Name, Value: o.Value})
		}
	}
	slices.SortFunc(out, func(a, b Option) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Value, b.Value)) })
	return out
}
