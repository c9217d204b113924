package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// goals are how many times the CPU of the no-op a check may take.
var goals = map[string]float64{hot: 1.6, miss: 2.6}

// report is the result of a run; every figure is the median of its rounds.
type report struct {
	Rounds   int    `json:"rounds"`
	Requests int    `json:"requests"` // per round and server
	Servers  []row  `json:"servers"`
	Weight   weight `json:"session_bytes"`
}

type row struct {
	Server  string  `json:"server"`
	CPU     float64 `json:"cpu_us_per_check"`
	PerSec  float64 `json:"checks_per_second"`
	P50     float64 `json:"p50_us"`
	P99     float64 `json:"p99_us"`
	Allocs  float64 `json:"allocs_per_check"`
	Reads   float64 `json:"redis_commands_per_check"`
	Ratio   float64 `json:"ratio"`
	Lowest  float64 `json:"ratio_lowest"`
	Highest float64 `json:"ratio_highest"`
	Goal    float64 `json:"goal,omitempty"`
	Met     bool    `json:"met"`
}

func newReport(o options, rounds []round, w weight) report {
	r := report{Rounds: o.rounds, Requests: o.requests, Weight: w}
	for _, name := range []string{noop, hot, miss} {
		r.Servers = append(r.Servers, newRow(name, rounds))
	}
	return r
}

func newRow(name string, rounds []round) row {
	of := func(figure func(sample) float64) float64 {
		var all []float64
		for _, r := range rounds {
			all = append(all, figure(r[name]))
		}
		return median(all)
	}
	var ratios []float64
	for _, r := range rounds {
		ratios = append(ratios, r.ratio(name))
	}
	ratio, goal := median(ratios), goals[name]
	return row{
		Server: name, Ratio: ratio, Lowest: slices.Min(ratios), Highest: slices.Max(ratios),
		Goal: goal, Met: goal == 0 || ratio <= goal,
		CPU:    of(func(s sample) float64 { return micros(s.CPU) }),
		PerSec: of(func(s sample) float64 { return s.PerSec }),
		P50:    of(func(s sample) float64 { return micros(s.P50) }),
		P99:    of(func(s sample) float64 { return micros(s.P99) }),
		Allocs: of(func(s sample) float64 { return s.Allocs }),
		Reads:  of(func(s sample) float64 { return s.Reads }),
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
	fmt.Fprintln(t, "server\tCPU µs/check\tchecks/s\tp50 µs\tp99 µs\tallocs/check\tRedis/check\tratio\t")
	for _, s := range r.Servers {
		fmt.Fprintf(t, "%s\t%.1f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t\n", s.Server, s.CPU, s.PerSec, s.P50, s.P99, s.Allocs, s.Reads, s.Ratio)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out)
	for _, s := range r.Servers[1:] {
		verdict := "missed"
		if s.Met {
			verdict = "met"
		}
		fmt.Fprintf(out, "goal: %s takes at most %.1f times the CPU of the no-op: %s with %.2f (rounds: %.2f to %.2f)\n",
			s.Server, s.Goal, verdict, s.Ratio, s.Lowest, s.Highest)
	}
	_, err := fmt.Fprintf(out, `a session takes %d bytes in Redis, with its tokens and lists, and %d where it is remembered
every answer was OK with its assertion, and none was signed anew
`, r.Weight.Redis, r.Weight.Cached)
	return err
}
