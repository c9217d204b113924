package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// goal is how many times the CPU of the no-op a hot session may take.
const goal = 1.8

// report is the result of a run; every figure is the median of its rounds.
type report struct {
	Rounds   int     `json:"rounds"`
	Requests int     `json:"requests"` // per round and server
	Servers  []row   `json:"servers"`
	Lowest   float64 `json:"ratio_lowest"`
	Highest  float64 `json:"ratio_highest"`
	Goal     float64 `json:"goal"`
	Met      bool    `json:"met"`
}

type row struct {
	Server string  `json:"server"`
	CPU    float64 `json:"cpu_us_per_check"`
	PerSec float64 `json:"checks_per_second"`
	P50    float64 `json:"p50_us"`
	P99    float64 `json:"p99_us"`
	Allocs float64 `json:"allocs_per_check"`
	Ratio  float64 `json:"ratio"`
}

func newReport(o options, rounds []round) report {
	var ratios []float64
	for _, r := range rounds {
		ratios = append(ratios, r.ratio())
	}
	ratio := median(ratios)
	return report{
		Rounds: o.rounds, Requests: o.requests,
		Servers: []row{newRow(noop, rounds, 1), newRow(countersign, rounds, ratio)},
		Lowest:  slices.Min(ratios), Highest: slices.Max(ratios),
		Goal: goal, Met: ratio <= goal,
	}
}

func newRow(name string, rounds []round, ratio float64) row {
	of := func(figure func(sample) float64) float64 {
		var all []float64
		for _, r := range rounds {
			all = append(all, figure(r[name]))
		}
		return median(all)
	}
	return row{
		Server: name, Ratio: ratio,
		CPU:    of(func(s sample) float64 { return micros(s.CPU) }),
		PerSec: of(func(s sample) float64 { return s.PerSec }),
		P50:    of(func(s sample) float64 { return micros(s.P50) }),
		P99:    of(func(s sample) float64 { return micros(s.P99) }),
		Allocs: of(func(s sample) float64 { return s.Allocs }),
	}
}

// median is the middle value, or the mean of both.
func median(all []float64) float64 {
	all = slices.Sorted(slices.Values(all))
	n := len(all)
	return (all[(n-1)/2] + all[n/2]) / 2
}

func micros(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }

func (r report) writeJSON(out io.Writer) error {
	e := json.NewEncoder(out)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

func (r report) writeTable(out io.Writer) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "server\tCPU µs/check\tchecks/s\tp50 µs\tp99 µs\tallocs/check\tratio\t")
	for _, s := range r.Servers {
		fmt.Fprintf(t, "%s\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t\n", s.Server, s.CPU, s.PerSec, s.P50, s.P99, s.Allocs, s.Ratio)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	verdict := "missed"
	if r.Met {
		verdict = "met"
	}
	_, err := fmt.Fprintf(out, `
goal: a hot session takes at most %.1f times the CPU of the no-op: %s with %.2f (rounds: %.2f to %.2f)
a check makes %.0f allocations more than the no-op; every answer was OK with its assertion, and none was signed anew
`, r.Goal, verdict, r.Servers[1].Ratio, r.Lowest, r.Highest, r.Servers[1].Allocs-r.Servers[0].Allocs)
	return err
}
