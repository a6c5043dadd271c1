package config

import (
	"os"
	"testing"
)

func TestExamples(t *testing.T) {
	for _, name := range []string{"lvs-dr.conf", "vip-only.conf"} {
		data, err := os.ReadFile("../examples/" + name)
		if err != nil {
			t.Fatal(err)
		}
		src := Files{name: string(data)}
		for _, id := range []string{"d1", "d2", "d3"} {
			cfg, ds := Parse(name, src, Options{ConfigID: id})
			t.Logf("%s", ds.Text(src))
			if ds.HasErrors() {
				t.Errorf("%s for %s:\n%s", name, id, ds.Text(src))
			}
			if len(cfg.Instances) != 1 {
				t.Errorf("%s for %s: %d instances", name, id, len(cfg.Instances))
			}
		}
	}
}
