package source

import (
	"os"
	"path/filepath"
	"testing"
)

// TestJournal kills a run at each point of a step, and looks at what the next one makes of it.
func TestJournal(t *testing.T) {
	const lines = "two\nthree\n"
	for name, c := range map[string]struct {
		after  func(t *testing.T, output string) // what happened to the output after the last step was noted
		offset int64                             // up to which everything is there
		doubt  bool
	}{
		"not written":        {func(*testing.T, string) {}, 4, false},
		"written":            {func(t *testing.T, out string) { appendTo(t, out, lines) }, 14, false},
		"a part was written": {func(t *testing.T, out string) { appendTo(t, out, lines[:6]) }, 4, true},
		"somebody else has written as much": {func(t *testing.T, out string) {
			appendTo(t, out, "their own\n")
		}, 4, true},
		"somebody else has written behind it": {func(t *testing.T, out string) {
			appendTo(t, out, lines+"their own\n")
		}, 14, false},
		"moved away": {func(t *testing.T, out string) {
			appendTo(t, out, lines)
			if err := os.Rename(out, out+".1"); err != nil {
				t.Fatal(err)
			}
			appendTo(t, out, "")
		}, 4, true},
		"gone": {func(t *testing.T, out string) { _ = os.Remove(out) }, 4, true},
		"noted in half": {func(t *testing.T, out string) {
			appendTo(t, filepath.Join(filepath.Dir(out), "registry.journal"), `{"id":"x","off`)
			appendTo(t, out, lines)
		}, 14, false},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			out, path, log := filepath.Join(dir, "out"), filepath.Join(dir, "registry"), filepath.Join(dir, "log")
			appendTo(t, log, "one\ntwo\nthree\n")
			r, k := openJournaled(t, path, out), (*Kept)(nil)
			info, err := os.Stat(log)
			if err == nil {
				k, _, err = r.begin(log, info, []byte("one\ntwo\nthree\n"))
			}
			if err != nil {
				t.Fatal(err)
			}
			for _, s := range []struct {
				text         string
				offset, line int64
			}{{"one\n", 4, 2}, {lines, 14, 4}} {
				file, err := os.OpenFile(out, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
				if err != nil {
					t.Fatal(err)
				}
				mark, err := MarkOf(file, []byte(s.text))
				if err != nil {
					t.Fatal(err)
				}
				if err := r.Reaching(k.ID, s.offset, s.line, mark); err != nil {
					t.Fatal(err)
				}
				if s.offset == 4 {
					appendTo(t, out, s.text)
				}
				_ = file.Close()
			}
			_, _ = r.journal.Close(), r.lock.Close() // as by a kill, nothing else is kept
			c.after(t, out)

			for range 2 { // the second time there is no journal any more
				r = openJournaled(t, path, out)
				if got := r.kept[0]; got.Offset != c.offset || got.Line != map[int64]int64{4: 2, 14: 4}[c.offset] {
					t.Errorf("goes on at %d, line %d, want %d", got.Offset, got.Line, c.offset)
				}
				if at, doubt := r.Doubt(); doubt != c.doubt || doubt && (at.Path != log || at.Line != 2) {
					t.Errorf("doubt %v: %+v", doubt, at)
				}
				c.doubt = false
				if err := r.Close(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

func openJournaled(t *testing.T, path, output string) *Registry {
	t.Helper()
	r, err := OpenRegistry(path, output)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
