package iocpipe_test

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"iocpipe/lookup/lookuptest"
)

// command is one command of a document and what it says that it prints.
type command struct {
	line string
	want []string
}

// TestREADME runs every command of the README and of docs, each as if at a terminal, and compares what it prints with
// what the document shows. A line "…" stands for any number of lines; times may differ.
func TestREADME(t *testing.T) {
	if _, err := exec.LookPath("script"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("script(1) is missing: install util-linux (Debian: bsdutils)")
		}
		t.Skip("script(1) is missing: it makes the terminal")
	}
	documents, _ := filepath.Glob("docs/*.md")
	bin := build(t)
	for _, path := range append(documents, "README.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		if err := os.Symlink(abs(t, "testdata"), filepath.Join(dir, "testdata")); err != nil {
			t.Fatal(err)
		}
		source := startSource(t)
		for _, c := range commands(string(text)) {
			if strings.HasPrefix(c.line, "go ") {
				c.line = strings.Replace(c.line, "go run ./cmd/iocpipe", "iocpipe", 1)
				if strings.HasPrefix(c.line, "go ") {
					continue // go test ./... is this very run
				}
			}
			t.Run(path+"/"+c.line, func(t *testing.T) {
				line := strings.NewReplacer("http://127.0.0.1:8080", source, "otx: ", "otx:"+source+" ").Replace(c.line)
				got := runAtTerminal(t, dir, bin, line)
				if !matches(c.want, got) {
					t.Errorf("it prints:\n%s\nthe document says:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
				}
			})
		}
	}
}

// build returns a folder with the program in it.
func build(t *testing.T) string {
	dir := t.TempDir()
	if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "iocpipe"), "./cmd/iocpipe").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return dir
}

func abs(t *testing.T, path string) string {
	full, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	return full
}

// startSource starts a source that speaks the v2 API, by one recorded answer, and OTX, by one that is made up. It
// returns the URL of both.
func startSource(t *testing.T) string {
	known, err := os.ReadFile("intel/testdata/responses/domain-known-2020.json")
	if err != nil {
		t.Fatal(err)
	}
	const pulses = `{"indicator":"evil.top","pulse_info":{"count":2,"pulses":[{"id":"000000000000000000000001",` +
		`"malware_families":["ExampleKit"]},{"id":"000000000000000000000002"}]}}`
	mux := http.NewServeMux()
	mux.Handle("/", lookuptest.ByValue(map[string]http.Handler{"aoldaily.com": lookuptest.JSON(string(known))},
		lookuptest.JSON(`{"response_code":"0"}`)))
	mux.Handle("/api/v1/indicators/domain/evil.top/general", lookuptest.JSON(pulses))
	return lookuptest.NewServer(t, mux).URL
}

// commands returns the commands of the console blocks in a document.
func commands(text string) (all []command) {
	for _, block := range regexp.MustCompile("(?s)```console\n(.*?)```").FindAllStringSubmatch(text, -1) {
		for line := range strings.Lines(block[1]) {
			line = strings.TrimSuffix(line, "\n")
			if c, ok := strings.CutPrefix(line, "$ "); ok {
				all = append(all, command{line: c})
			} else {
				all[len(all)-1].want = append(all[len(all)-1].want, line)
			}
		}
	}
	return all
}

// runAtTerminal returns the lines that a shell command prints at a terminal.
func runAtTerminal(t *testing.T, dir, bin, line string) []string {
	cmd := exec.Command("script", "-qec", line, "/dev/null")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "NO_COLOR=1", "TERM=dumb", "SHELL=/bin/bash", "HOME="+dir,
		"IOCPIPE_STATE="+filepath.Join(dir, "state"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	out = bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n"))
	return strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
}

var times = regexp.MustCompile(`\d+\.\d\d s$|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[.\d]*Z`)

// matches reports whether got is what want says.
func matches(want, got []string) bool {
	if len(want) == 0 {
		return len(got) == 0 || len(got) == 1 && got[0] == ""
	}
	if want[0] == "…" {
		for i := range len(got) + 1 {
			if len(want) == 1 || matches(want[1:], got[i:]) {
				return true
			}
		}
		return false
	}
	return len(got) > 0 && times.ReplaceAllString(want[0], "TIME") == times.ReplaceAllString(strings.TrimSuffix(got[0], "\r"), "TIME") &&
		matches(want[1:], got[1:])
}
