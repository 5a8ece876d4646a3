package annotate

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

// TestCompare damages the annotated forms of lines in each way that there is.
func TestCompare(t *testing.T) {
	in := []string{"one 203.0.113.7", "two", spell(`{IP,"n":1}`), "two", spell(`{"threat":{"a":1},"b":2,IP}`), `a\b`, ""}
	forms := map[string][]string{"text": nil, "wrapped": nil}
	for _, line := range in {
		annotated := formsWith(atNoon(), []byte(line), find([]byte(line)))
		forms["text"] = append(forms["text"], string(annotated[0]))
		forms["wrapped"] = append(forms["wrapped"], string(annotated[len(annotated)-1]))
	}
	for form, out := range forms {
		for _, tt := range []struct {
			name string
			out  []string
			want Comparison
		}{
			{"nothing", out, Comparison{}},
			{"first gone", out[1:], Comparison{Missing: 1}},
			{"last gone", out[:6], Comparison{Missing: 1}},
			{"two gone", slices.Concat(out[:2], out[4:]), Comparison{Missing: 2}},
			{"all gone", nil, Comparison{Missing: 7}},
			{"twice", slices.Concat(out[:3], out[2:]), Comparison{Added: 1}},
			{"at the end", slices.Concat(out, out[:1]), Comparison{Added: 1}},
			{"swapped", []string{out[0], out[2], out[1], out[3], out[4], out[5], out[6]}, Comparison{Reordered: 1}},
			{"last first", slices.Concat(out[6:], out[:6]), Comparison{Reordered: 1}},
			{"changed", slices.Concat(out[:1], []string{"twO"}, out[2:]), Comparison{Changed: 1}},
			{"changed and gone", slices.Concat([]string{"x"}, out[1:3], out[4:]), Comparison{Changed: 1, Missing: 1}},
			{"joined", slices.Concat([]string{out[0] + out[1]}, out[2:]), Comparison{Changed: 1, Missing: 1}},
		} {
			t.Run(form+", "+tt.name, func(t *testing.T) {
				got := compareLines(t, in, tt.out)
				got.Lines, got.Problems = 0, nil
				if diff := cmp.Diff(tt.want, got); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			})
		}
	}
}

// Records of answers that came late are no lines, wherever they stand; one that went in is a line like any other.
func TestCompareFollowUps(t *testing.T) {
	record := func(value string) string {
		return `{"@timestamp":"2026-11-01T01:00:00.000Z","event":{"kind":"enrichment"},"iocpipe":{"late":{"events":1,"indicator":"` +
			value + `"}},"threat":{"enrichments":[{}]}}`
	}
	one, two := record("203.0.113.7"), record("203.0.113.8")
	for name, tt := range map[string]struct {
		in, out []string
		want    Comparison
	}{
		"between":        {[]string{"a", "b"}, []string{"a", one, "b", two}, Comparison{Lines: 2, FollowUps: 2}},
		"beside damage":  {[]string{"a", "b", "c", "d"}, []string{"a", one, "c", "d"}, Comparison{Lines: 4, Missing: 1, FollowUps: 1}},
		"of before":      {[]string{"a", one, "b"}, []string{"a", two, one, "b"}, Comparison{Lines: 3, FollowUps: 1}},
		"of before lost": {[]string{"a", one, "b"}, []string{"a", "b"}, Comparison{Lines: 3, Missing: 1}},
		"only alike":     {[]string{"a"}, []string{"a", `{"@timestamp":"x","event":{"kind":"enrichment"}}`}, Comparison{Lines: 1, Added: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			got := compareLines(t, tt.in, tt.out)
			got.Problems = nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func compareLines(t *testing.T, in, out []string) Comparison {
	t.Helper()
	c, err := Compare(strings.NewReader(endLines(in)), strings.NewReader(endLines(out)))
	if err != nil || c.Lines != int64(len(in)) || c.OK() != (len(c.Problems) == 0) {
		t.Errorf("got %+v, %v, want %d lines, and no problem without a damage", c, err, len(in))
	}
	return c
}

func endLines(lines []string) string {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(line + "\n")
	}
	return b.String()
}

// TestCompareMuchDamage compares what has nothing, or little, to do with each other; looking for each line among all the
// others would take hours.
func TestCompareMuchDamage(t *testing.T) {
	const n = 10_000
	numbered := func(form string) (lines []string) {
		for i := range n {
			lines = append(lines, fmt.Sprintf(form, i))
		}
		return lines
	}
	in := numbered(`{"a":"%d"}`)
	reversed := slices.Clone(in)
	slices.Reverse(reversed)
	for _, tt := range []struct {
		name string
		out  []string
		want Comparison
	}{
		{"other lines", numbered(`{"b":"%d"}`), Comparison{Changed: n}},
		{"reversed", reversed, Comparison{Reordered: n - 1}},
		{"a few left", []string{in[4_000], in[8_000]}, Comparison{Missing: n - 2}},
		{"a block moved", slices.Concat(in[:100], in[4_100:], in[100:4_100]), Comparison{Reordered: 4_000}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := compareLines(t, in, tt.out)
			if len(got.Problems) != mostProblems {
				t.Errorf("%d problems are told", len(got.Problems))
			}
			got.Lines, got.Problems = 0, nil
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestCompareErrors(t *testing.T) {
	bad := errors.New("disk on fire")
	if _, err := Compare(iotest.ErrReader(bad), strings.NewReader("a\n")); !errors.Is(err, bad) {
		t.Errorf("got error %v, want that of the input", err)
	}
	if _, err := Compare(strings.NewReader("a\n"), iotest.ErrReader(bad)); !errors.Is(err, bad) {
		t.Errorf("got error %v, want that of the output", err)
	}
}

// TestFingerprints wants the fingerprint of every annotated form among those of the line.
func TestFingerprints(t *testing.T) {
	for _, line := range slices.Concat(linesOf(t, "events.ndjson"), formsOf(t)) {
		for _, out := range formsWith(atNoon(), line, find(line)) {
			if !slices.Contains(fingerprints(line), fingerprint(out)) {
				t.Errorf("none in common:\n in %s\nout %s", line, out)
			}
		}
	}
}
