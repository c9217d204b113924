package pages_test

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/countersign/countersign/authz"
)

var colour = regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`)

// TestContrast holds the colours against WCAG 2.2: 4.5:1 for text (§1.4.3), 3:1
// for what marks a control or the focus (§1.4.11).
func TestContrast(t *testing.T) {
	light, dark, found := strings.Cut(textOf(one(t, show(t, authz.Page{}), "style")), "prefers-color-scheme: dark")
	if !found {
		t.Fatal("style has no dark colours")
	}
	for name, style := range map[string]string{"light": light, "dark": dark} {
		colours := map[string]float64{}
		for _, m := range colour.FindAllStringSubmatch(style, -1) {
			colours[m[1]] = luminance(t, m[2])
		}
		for _, tt := range []struct {
			front, back string
			want        float64
		}{
			{"ink", "card", 4.5},
			{"ink", "inset", 4.5},
			{"ink", "stop-tint", 4.5},
			{"ink", "wait-tint", 4.5},
			{"ink", "done-tint", 4.5},
			{"ink", "calm-tint", 4.5},
			{"soft", "card", 4.5},
			{"soft", "inset", 4.5},
			{"soft", "ground", 4.5},
			{"stop", "stop-tint", 4.5},
			{"wait", "wait-tint", 4.5},
			{"done", "done-tint", 4.5},
			{"calm", "calm-tint", 4.5},
			{"on-accent", "accent", 4.5},
			{"on-accent", "accent-over", 4.5},
			{"edge", "card", 3},
			{"accent", "card", 3},
		} {
			t.Run(name+"_"+tt.front+"_on_"+tt.back, func(t *testing.T) {
				front, back := colours[tt.front], colours[tt.back]
				if front == 0 || back == 0 {
					t.Fatal("style does not define the colour")
				}
				got := (max(front, back) + 0.05) / (min(front, back) + 0.05)
				if got < tt.want {
					t.Errorf("contrast = %.2f:1, want %.1f:1", got, tt.want)
				}
			})
		}
	}
}

// luminance is the relative luminance of an RRGGBB colour (WCAG 2.2 §8).
func luminance(t *testing.T, rgb string) float64 {
	t.Helper()
	sum := 0.0
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		v, err := strconv.ParseUint(rgb[2*i:2*i+2], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(v) / 255
		if c <= 0.04045 {
			sum += weight * c / 12.92
		} else {
			sum += weight * math.Pow((c+0.055)/1.055, 2.4)
		}
	}
	return sum
}
