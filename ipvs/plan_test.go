package ipvs_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/cockroachdb/datadriven"

	"quorate/ipvs"
	"quorate/ipvs/ipvstest"
)

// TestPlan runs testdata/plan*.txt. The verbs:
//
//	actual              the kernel's table, as ipvsadm -S -n lines
//	managed             services that may be deleted, as ipvsadm -A lines; default none
//	plan                the input is the desired table; prints the operations and proves that they lead there
func TestPlan(t *testing.T) {
	datadriven.Walk(t, "testdata/plan", func(t *testing.T, path string) {
		var actual ipvs.Table
		var managed []ipvs.Key
		datadriven.RunTest(t, path, func(t *testing.T, d *datadriven.TestData) string {
			table, err := ipvs.Parse(d.Input)
			if err != nil {
				t.Fatalf("%s: %v", d.Pos, err)
			}
			switch d.Cmd {
			case "actual":
				actual = table
				return ""
			case "managed":
				managed = nil
				for _, e := range table {
					managed = append(managed, e.Service.Key)
				}
				return ""
			case "plan":
				return runPlan(t, table, actual, managed)
			}
			t.Fatalf("%s: unknown verb %s", d.Pos, d.Cmd)
			return ""
		})
	})
}

func runPlan(t *testing.T, desired, actual ipvs.Table, managed []ipvs.Key) string {
	t.Helper()
	ops := ipvs.Plan(desired, actual, managed)
	m := ipvstest.New(actual)
	m.Strict = true
	if err := m.Apply(ops); err != nil {
		t.Fatalf("apply: %v", err)
	}
	after, _ := m.Table()
	if again := ipvs.Plan(desired, after, managed); len(again) != 0 {
		t.Fatalf("a second plan is not empty: %v", again)
	}
	var b strings.Builder
	for _, op := range ops {
		fmt.Fprintln(&b, op)
	}
	if len(ops) == 0 {
		return "nothing to do\n"
	}
	return b.String()
}

// TestValidate runs testdata/validate.txt. The verbs:
//
//	validate            reads a table and prints what is wrong with it
func TestValidate(t *testing.T) {
	datadriven.RunTest(t, "testdata/validate.txt", func(t *testing.T, d *datadriven.TestData) string {
		table, err := ipvs.Parse(d.Input)
		if err != nil {
			return "parse: " + err.Error() + "\n"
		}
		if err := table.Validate(); err != nil {
			return err.Error() + "\n"
		}
		return table.String()
	})
}
