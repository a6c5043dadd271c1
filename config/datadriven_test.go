package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cockroachdb/datadriven"
)

// The verbs of testdata/*.txt:
//
//	file name=inc/a.conf     adds a file that include lines of later cases can read
//	conf [id=d1] [name=main.conf] [quiet] [file]   reads the input; prints findings, then the tree;
//	                         with file no findings about what quorate does not carry out yet
//	render nodes=(d1,d2) [file]   reads the input for several directors; prints the findings
func TestDataDriven(t *testing.T) {
	datadriven.Walk(t, "testdata/golden", func(t *testing.T, path string) {
		files := Files{}
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			name, id := "k.conf", "d1"
			d.MaybeScanArgs(t, "name", &name)
			d.MaybeScanArgs(t, "id", &id)
			files[name] = d.Input + "\n"
			switch d.Cmd {
			case "file":
				return ""
			case "conf":
				cfg, ds := Parse(name, files, Options{ConfigID: id})
				if d.HasArg("file") {
					ds = slices.DeleteFunc(ds, func(d Diagnostic) bool { return aboutUs[d.Code] })
				}
				out := ds.Text(files)
				if !d.HasArg("quiet") {
					out += dump(cfg)
				}
				return out
			case "render":
				var nodes []string
				for _, a := range d.CmdArgs {
					if a.Key == "nodes" {
						nodes = a.Vals
					}
				}
				cfgs, ds := Render(name, files, nodes)
				if d.HasArg("file") {
					ds = slices.DeleteFunc(ds, func(d Diagnostic) bool { return aboutUs[d.Code] })
				}
				out := ds.Text(files)
				if !ds.HasErrors() {
					for _, n := range slices.Sorted(maps.Keys(cfgs)) {
						for _, i := range cfgs[n].Instances {
							out += fmt.Sprintf("%s: %s priority %d\n", n, i.Name, i.Priority.V)
						}
					}
				}
				return cmp.Or(out, "ok\n")
			}
			t.Fatalf("unknown verb %s", d.Cmd)
			return ""
		})
	})
}

// dump prints a tree: what was written as "name value @line:column", defaults and what was
// inherited in parentheses, zero defaults not at all.
func dump(cfg *Config) string {
	var b strings.Builder
	dumpValue(&b, "", "", reflect.ValueOf(*cfg))
	return b.String()
}

func dumpValue(b *strings.Builder, indent, name string, v reflect.Value) {
	switch x := v.Interface().(type) {
	case Pos:
		return
	case Address:
		fmt.Fprintf(b, "%s%s %s", indent, name, x.Prefix)
		for _, kv := range [][2]string{{"dev", x.Dev}, {"label", x.Label}, {"scope", x.Scope}, {"brd", x.Broadcast}} {
			if kv[1] != "" {
				fmt.Fprintf(b, " %s %s", kv[0], kv[1])
			}
		}
		if x.NoTrack {
			b.WriteString(" no_track")
		}
		if x.UseVMAC {
			b.WriteString(" use_vmac")
		}
		b.WriteString(strings.TrimRight(" "+x.Options, " "))
		fmt.Fprintf(b, " @%d:%d\n", x.Pos.Line, x.Pos.Column)
		return
	case Command:
		fmt.Fprintf(b, "%s%s %q user=%q group=%q @%d:%d\n", indent, name, x.Argv, x.User, x.Group, x.Pos.Line, x.Pos.Column)
		return
	case netip.Addr, netip.Prefix:
		if !v.IsZero() {
			fmt.Fprintf(b, "%s%s %v\n", indent, name, x)
		}
		return
	case Value[string], Value[int], Value[bool], Value[time.Duration], Value[netip.Addr]:
		val, set, pos := v.Field(0), v.Field(1).Bool(), v.Field(2).Interface().(Pos)
		if set {
			fmt.Fprintf(b, "%s%s %v @%d:%d\n", indent, name, val, pos.Line, pos.Column)
		} else if !val.IsZero() {
			fmt.Fprintf(b, "%s(%s %v)\n", indent, name, val)
		}
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			dumpValue(b, indent, name, v.Elem())
		}
	case reflect.Slice:
		for i := range v.Len() {
			dumpValue(b, indent, name, v.Index(i))
		}
	case reflect.Struct:
		if v.IsZero() {
			return
		}
		if name != "" {
			fmt.Fprintf(b, "%s%s\n", indent, name)
			indent += "  "
		}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				dumpValue(b, indent, f.Name, v.Field(i))
			}
		}
	default:
		if !v.IsZero() {
			fmt.Fprintf(b, "%s%s %v\n", indent, name, v)
		}
	}
}
