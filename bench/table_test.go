package bench

import (
	"flag"
	"fmt"
	"io"
	"slices"
	"sync"
	"testing"
	"text/tabwriter"
	"time"
)

var (
	rounds = flag.Int("rounds", 10, "rounds of each failover; what is printed is the median")
	long   = flag.Bool("long", false, "watch for false elections for ten minutes, else for thirty seconds")
)

// row is a line of the table at the end.
type row struct {
	what, unit string
	limit      float64 // 0: none
	got        [2][]float64
}

// table collects the rows; benchmarks run one after the other.
var table []row

// both measures ours and the peer at the same time on the same machine, each in a lab of its own.
func both(b *testing.B, what, unit string, limit time.Duration, conf string, measure func(p *pair) []float64) {
	b.Helper()
	all(b, conf, func(p *pair) []row {
		return []row{{what: what, unit: unit, limit: ms(limit), got: [2][]float64{measure(p)}}}
	})
}

// all is [both] for several figures of one run: measure returns them as got[0].
func all(b *testing.B, conf string, measure func(p *pair) []row) {
	b.Helper()
	for range b.N {
		var got [2][]row
		pairs := [2]*pair{newPair(b, ours, conf), newPair(b, peer, conf)}
		var wg sync.WaitGroup
		for k, p := range pairs {
			wg.Go(func() { got[k] = measure(p) })
		}
		wg.Wait()
		for _, p := range pairs {
			_ = p.lab.Close()
		}
		if b.Failed() || len(got[0]) == 0 || len(got[0]) != len(got[1]) {
			b.FailNow()
		}
		for i, r := range got[0] {
			r.got[1] = got[1][i].got[0]
			table = append(table, r)
			fmt.Printf("\n%s: ours %s, keepalived %s %s, ratio %s\n", r.what, span(r.got[0]), span(r.got[1]), r.unit, r.ratio())
			if len(got[0]) == 1 {
				b.ReportMetric(median(r.got[0]), "ours-"+r.unit)
				b.ReportMetric(median(r.got[1]), "keepalived-"+r.unit)
			}
		}
	}
	b.ReportMetric(0, "ns/op") // means nothing here
}

func (r row) ratio() string {
	if k := median(r.got[1]); k > 0 {
		return fmt.Sprintf("%.2f", median(r.got[0])/k)
	}
	return "-"
}

// span is the median of figures, and between which they are if there are several.
func span(v []float64) string {
	if len(v) == 1 {
		return fmt.Sprintf("%.4g", v[0])
	}
	return fmt.Sprintf("%.4g (%.4g .. %.4g)", median(v), slices.Min(v), slices.Max(v))
}

// printTable ends a run.
func printTable(w io.Writer) {
	if len(table) == 0 {
		return
	}
	_, _ = fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "what\tunit\tours\tkeepalived\tratio\tn\tat most\t")
	for _, r := range table {
		limit, verdict := "-", ""
		if r.limit > 0 {
			limit = fmt.Sprintf("%.4g", r.limit)
			if median(r.got[0]) > r.limit {
				verdict = "MISSED"
			}
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", r.what, r.unit, span(r.got[0]), span(r.got[1]), r.ratio(), len(r.got[0]), limit, verdict)
	}
	_ = t.Flush()
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	if len(v)%2 == 1 {
		return v[len(v)/2]
	}
	return (v[len(v)/2-1] + v[len(v)/2]) / 2
}

func ms(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
