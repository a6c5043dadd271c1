package bench

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"quorate/sim/netns"
)

// BenchmarkLab is how long a private lab takes to be there: three directors, two real servers and a client, each with a network
// stack, an Ethernet cable with carrier and an address. The target is 100 ms.
func BenchmarkLab(b *testing.B) {
	var took []float64
	for b.Loop() {
		start := time.Now()
		lab, err := netns.New(netns.Options{})
		if err != nil {
			b.Fatal(err)
		}
		for i, name := range []string{"d1", "d2", "d3", "rs1", "rs2", "c1"} {
			if _, err := lab.AddHost(name, fmt.Sprintf("10.9.0.%d/24", i+1)); err != nil {
				b.Fatal(err)
			}
		}
		took = append(took, ms(time.Since(start)))
		if err := lab.Close(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(took), "ms")
	b.ReportMetric(slices.Min(took), "best-ms")
	b.ReportMetric(slices.Max(took), "worst-ms")
}
