package extract

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const manual = "../docs/extraction.md"

var codePattern = regexp.MustCompile("`[^`]+`")

// code returns the texts between backquotes.
func code(cell string) (out []string) {
	for _, c := range codePattern.FindAllString(cell, -1) {
		out = append(out, strings.Trim(c, "`"))
	}
	return out
}

// tables returns the rows of the manual's tables by section, without their heads.
func tables(t *testing.T) map[string][][]string {
	data, err := os.ReadFile(manual)
	if err != nil {
		t.Fatal(err)
	}
	rows, section, head := make(map[string][][]string), "", false
	for line := range strings.Lines(string(data)) {
		switch title, ok := strings.CutPrefix(line, "## "); {
		case ok:
			section = strings.TrimSpace(title)
		case !strings.HasPrefix(line, "|"):
			head = true
		case head:
			head = false
		case !strings.HasPrefix(line, "|---"):
			cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
			rows[section] = append(rows[section], cells)
		}
	}
	return rows
}

func found(text string, defang Defang) (out []string) {
	s := Scanner{Defang: defang}
	for _, m := range s.Append(nil, []byte(text)) {
		out = append(out, m.Value)
	}
	return out
}

// TestManual checks every example of docs/extraction.md, and that no rule is missing there.
func TestManual(t *testing.T) {
	rows := tables(t)
	if len(rows) != 6 {
		t.Fatalf("%d sections of the manual have a table, want 6", len(rows))
	}
	for _, row := range rows["What is found"] {
		text, want := code(row[1])[0], code(row[2])
		if got := found(text, DefangAll); !slices.Equal(got, want) {
			t.Errorf("in %q are %q, the manual says %q", text, got, want)
		}
	}
	for _, row := range rows["Antivirus detection names"] {
		text, want := code(row[1])[0], code(row[2])[0]
		if got := found(text, DefangAll); !slices.Contains(got, want) {
			t.Errorf("in %q are %q, the manual says %q", text, got, want)
		}
	}
	for _, row := range rows["Defanged forms"] {
		checkForms(t, strings.TrimSpace(row[0]), code(row[1]), code(row[2])[0])
	}
	checkRules(t, rows["What is dropped, and why"])
	var reasons []string
	for s := SpecialRange; s <= Allowed; s++ {
		reason, _, _ := strings.Cut(s.String(), ":")
		reasons = append(reasons, reason)
	}
	var listed []string
	for _, row := range rows["What is found but not asked"] {
		listed = append(listed, code(row[0])[0])
	}
	if !slices.Equal(listed, reasons) {
		t.Errorf("the manual lists %q, the reasons are %q", listed, reasons)
	}
}

// checkForms checks that each form has the value in the mode, and in all larger ones.
func checkForms(t *testing.T, mode string, forms []string, value string) {
	t.Helper()
	modes := []Defang{DefangCommon, DefangAll}
	if mode == "all" {
		modes = modes[1:]
	}
	for _, form := range forms {
		for _, defang := range modes {
			if got := found(form, defang); len(got) == 0 || got[0] != value {
				t.Errorf("defang %d: %q is %q, the manual says %q", defang, form, got, value)
			}
		}
	}
}

// checkRules checks that each rule is listed, in order, and drops its example, which holds no indicator beside it.
func checkRules(t *testing.T, rows [][]string) {
	t.Helper()
	rule := Accepted
	for _, row := range rows {
		rule++
		name, _, _ := strings.Cut(rule.String(), ":")
		if got := code(row[0])[0]; got != name {
			t.Fatalf("the manual lists %q where the rules have %q", got, name)
		}
		example := code(row[2])
		if len(example) == 0 {
			continue
		}
		s := Scanner{Defang: DefangAll, Explain: true}
		matches := s.Append(nil, []byte(example[0]))
		byRule := func(r Rule) bool {
			return slices.ContainsFunc(matches, func(m Match) bool { return m.Rule == r })
		}
		if !byRule(rule) || byRule(Accepted) && rule != MessageID && rule != Jabber && rule != Masked {
			t.Errorf("%s: of %q becomes %+v", name, example[0], matches)
		}
	}
	if rule != numRules-1 {
		t.Errorf("the manual lists %d rules of %d", rule, numRules-1)
	}
}
