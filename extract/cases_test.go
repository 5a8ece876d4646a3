package extract

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "rewrite the expected values in testdata")

// TestCases runs the lines of testdata/*.txt. A line that begins with neither blank nor # is scanned as it stands;
// beneath it stands, indented, what is found ("type value", and "<- raw" where another form stands in the line) and
// what is dropped ("- raw: rule"), all of it, in order. The lines of filter.txt are read as the filter does.
func TestCases(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("testdata/*.txt: %v", err)
	}
	for _, path := range files {
		t.Run(strings.TrimSuffix(filepath.Base(path), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			s := Scanner{Defang: DefangAll, Explain: true}
			if filepath.Base(path) == "filter.txt" {
				s.Defang = DefangCommon
			}
			got := rerun(&s, want)
			if *update {
				if err := os.WriteFile(path, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(string(got), "\n")); diff != "" && !*update {
				t.Errorf("%s (-want +got):\n%s", path, diff)
			}
		})
	}
}

// rerun returns the case file with what s finds in the place of what is expected.
func rerun(s *Scanner, file []byte) (out []byte) {
	for line := range bytes.Lines(file) {
		if line[0] == '\t' {
			continue
		}
		out = append(out, line...)
		if line[0] == '#' || line[0] == '\n' {
			continue
		}
		line = bytes.TrimSuffix(line, []byte("\n"))
		for _, m := range s.Append(nil, line) {
			out = append(append(append(out, '\t'), describe(m, line)...), '\n')
		}
	}
	return out
}

// describe writes m as case files do.
func describe(m Match, line []byte) string {
	raw := string(line[m.Start:m.End])
	if m.Rule != Accepted {
		name, _, _ := strings.Cut(m.Rule.String(), ":")
		return "- " + raw + ": " + name
	}
	text := m.Type.String() + " " + m.Value
	if m.Field != "" {
		text += " in " + m.Field
	}
	if raw != m.Value {
		text += " <- " + raw
	}
	return text
}
