package config

import (
	"fmt"
	"strings"
	"testing"
)

// manyServices is a file of n virtual servers with 4 real servers each.
func manyServices(n int) string {
	var b strings.Builder
	b.WriteString("global_defs {\n  router_id LVS\n}\n")
	for i := range n {
		fmt.Fprintf(&b, "virtual_server 10.%d.%d.%d 80 {\n  delay_loop 6\n  lb_algo wlc\n  lb_kind DR\n  persistence_timeout 60\n  protocol TCP\n", i/62500, i/250%250, i%250+1)
		for k := range 4 {
			fmt.Fprintf(&b, "  real_server 172.%d.%d.%d 80 {\n    weight 3\n    TCP_CHECK {\n      connect_port 80\n      connect_timeout 3\n      retry 3\n      delay_before_retry 3\n    }\n  }\n", 16+k, i/250, i%250+1)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

func BenchmarkLint10000(b *testing.B) {
	src := Files{"k": manyServices(10_000)}
	b.SetBytes(int64(len(src["k"])))
	b.ReportAllocs()
	for b.Loop() {
		if ds := Lint("k", src, Options{ConfigID: "d1"}); ds.HasErrors() {
			b.Fatal(ds[0])
		}
	}
}

func BenchmarkParse10000(b *testing.B) {
	src := Files{"k": manyServices(10_000)}
	b.SetBytes(int64(len(src["k"])))
	b.ReportAllocs()
	for b.Loop() {
		if _, ds := Parse("k", src, Options{ConfigID: "d1"}); ds.HasErrors() {
			b.Fatal(ds[0])
		}
	}
}
