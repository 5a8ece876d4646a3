package export

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"iocpipe/intel"
)

// missing skips a test whose program is not here; where all are installed (CI=true) it fails.
func missing(t *testing.T, format string, args ...any) {
	t.Helper()
	message := fmt.Sprintf(format, args...) +
		" (intel/local/export/testdata/consumers.sh FOLDER fetches it; IOCPIPE_CONSUMERS names the folder)"
	if os.Getenv("CI") == "true" {
		t.Fatal(message)
	}
	t.Skip(message)
}

// daemon returns a command for a program that is unpacked in the folder of consumers, or installed.
func daemon(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	root := filepath.Join(os.Getenv("IOCPIPE_CONSUMERS"), "root")
	if path := filepath.Join(root, "usr/sbin", name); os.Getenv("IOCPIPE_CONSUMERS") != "" && exists(path) {
		cmd := exec.Command(path, args...)
		libraries := append(glob(t, filepath.Join(root, "usr/lib/*-linux-gnu")), glob(t, filepath.Join(root, "lib/*-linux-gnu"))...)
		libraries = append(libraries, filepath.Join(root, "usr/lib/syslog-ng"))
		cmd.Env = append(os.Environ(), "LD_LIBRARY_PATH="+strings.Join(libraries, ":"))
		switch name { // their modules are not where they look for them
		case "rsyslogd":
			cmd.Args = append(cmd.Args, "-M"+one(t, filepath.Join(root, "usr/lib/*-linux-gnu/rsyslog")))
		case "syslog-ng":
			cmd.Args = append(cmd.Args, "--module-path="+one(t, filepath.Join(root, "usr/lib/syslog-ng/[0-9]*")))
		}
		return cmd
	}
	for _, path := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(path); err == nil {
			return exec.Command(path, args...)
		}
	}
	missing(t, "%s is missing", name)
	return nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	paths, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

func one(t *testing.T, pattern string) string {
	t.Helper()
	paths := glob(t, pattern)
	if len(paths) != 1 {
		t.Fatalf("%s: %v", pattern, paths)
	}
	return paths[0]
}

// answers starts a daemon that reads the lines of values from the file in and writes an answer to each to the file
// out, and returns the answers.
func answers(t *testing.T, cmd *exec.Cmd, out string, lines int) []string {
	t.Helper()
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(10 * time.Second):
			_ = cmd.Process.Kill()
		}
	}()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		data, err := os.ReadFile(out)
		if got := strings.Count(string(data), "\n"); err == nil && got >= lines {
			return strings.Split(strings.TrimSuffix(string(data), "\n"), "\n")
		}
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("%s ended: %v\n%s", cmd.Path, err, &said)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s wrote %q\n%s", cmd.Path, data, &said)
		}
	}
}

// asked are values that a daemon is asked about, and what it must know.
var asked = []struct{ value, verdict, sources string }{
	{"203.0.113.7", "malicious", "feodo,urlhaus"},
	{"2001:db8::7", "malicious", "urlhaus"},
	{"203.0.113.8", "malicious", "urlhaus"},
	{"203.0.113.9", "", ""}, // has expired
	{"evil.test", "malicious", "by hand"},
	{"good.test", "benign", "warninglist"},
	{"other.test", "", ""},
	{`trojan:win32/"x"`, "malicious", "urlhaus"},
	{`http://203.0.113.8/a'b\c?d=%27&e="f"#g;h`, "malicious", "urlhaus"},
	{"https://host.test/a,b $c", "malicious", "feodo"},
	{"=cmd@evil.test", "malicious", "urlhaus"},
	{strings.Repeat("d", 128), "malicious", "+samples"},
}

func ask(t *testing.T, dir string) {
	t.Helper()
	var values strings.Builder
	for _, a := range asked {
		values.WriteString(a.value + "\n")
	}
	if err := os.WriteFile(filepath.Join(dir, "in"), []byte(values.String()), 0o666); err != nil {
		t.Fatal(err)
	}
}

func writeConfig(t *testing.T, dir, config string) string {
	t.Helper()
	path := filepath.Join(dir, "conf")
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(config, "DIR", dir)), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRsyslogReadsIt(t *testing.T) {
	dir := t.TempDir()
	for name, entries := range map[string][]intel.Entry{"table.json": known(), "empty.json": nil} {
		if _, err := File(filepath.Join(dir, name), RsyslogJSON, each(entries), Options{Now: now, Verdicts: everyVerdict}); err != nil {
			t.Fatal(err)
		}
	}
	ask(t, dir)
	config := writeConfig(t, dir, `
global(workDirectory="DIR")
module(load="imfile")
lookup_table(name="ioc" file="DIR/table.json")
lookup_table(name="empty" file="DIR/empty.json")
template(name="answer" type="string" string="%$.known%|%$.nothing%\n")
input(type="imfile" file="DIR/in" tag="t" ruleset="ask")
ruleset(name="ask") {
  set $.known = lookup("ioc", $msg);
  set $.nothing = lookup("empty", $msg);
  action(type="omfile" file="DIR/out" template="answer")
}
`)
	got := answers(t, daemon(t, "rsyslogd", "-n", "-iNONE", "-f", config), filepath.Join(dir, "out"), len(asked))
	for i, a := range asked {
		if want := strings.TrimSpace(a.verdict+" "+a.sources) + "|"; got[i] != want {
			t.Errorf("%s: got %q, want %q", a.value, got[i], want)
		}
	}
}

func TestSyslogNGReadsIt(t *testing.T) {
	dir := t.TempDir()
	hostile := voted("$HOST ${MSG} $(env PATH)", -1)
	hostile.Report.Tags, hostile.Report.References = []string{"'a'", "\"b\",c\nd"}, []string{"$", " x "}
	entries := append(known(), entry(ofType(1, "203.0.113.99"), hostile))
	if _, err := File(filepath.Join(dir, "table.csv"), SyslogNG, each(entries), Options{Now: now, Verdicts: everyVerdict}); err != nil {
		t.Fatal(err)
	}
	asked := append(asked[:len(asked):len(asked)], struct{ value, verdict, sources string }{
		"203.0.113.99", "malicious", hostile.Source + `|'a',"b",c d|$`,
	})
	ask(t, dir)
	in, err := os.OpenFile(filepath.Join(dir, "in"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = io.WriteString(in, "203.0.113.99\n")
	if e := in.Close(); err != nil || e != nil {
		t.Fatal(err, e)
	}
	config := writeConfig(t, dir, `@version: 3.38
options { stats-freq(0); flush-lines(1); };
source lines { file("DIR/in" flags(no-parse) follow-freq(1)); };
parser known { add-contextual-data(selector("$MSG") database("DIR/table.csv")); };
destination answers { file("DIR/out" template("${iocpipe.verdict}|${iocpipe.source}|${iocpipe.tags}|${iocpipe.reference}\n")); };
log { source(lines); parser(known); destination(answers); };
`)
	cmd := daemon(t, "syslog-ng", "-F", "--no-caps", "-f", config, "-R", filepath.Join(dir, "persist"),
		"-p", filepath.Join(dir, "pid"), "-c", filepath.Join(dir, "ctl"))
	got := answers(t, cmd, filepath.Join(dir, "out"), len(asked))
	for i, a := range asked {
		if want := a.verdict + "|" + a.sources + "|"; !strings.HasPrefix(got[i]+"|", want) {
			t.Errorf("%s: got %q, want %q", a.value, got[i], want)
		}
	}
}

// python runs a script of testdata with the Python that has the libraries it imports.
func python(t *testing.T, library, script, path string) []byte {
	t.Helper()
	interpreter := filepath.Join(os.Getenv("IOCPIPE_CONSUMERS"), "venv/bin/python")
	if os.Getenv("IOCPIPE_CONSUMERS") == "" || !exists(interpreter) {
		interpreter = "python3"
	}
	if err := exec.Command(interpreter, "-c", "import "+library).Run(); err != nil {
		missing(t, "Python's %s is missing", library)
	}
	cmd := exec.Command(interpreter, filepath.Join("testdata", script), path)
	cmd.Stderr = new(bytes.Buffer)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, cmd.Stderr)
	}
	return out
}

func decodeLines[T any](t *testing.T, lines []byte) (all []T) {
	t.Helper()
	for d := json.NewDecoder(bytes.NewReader(lines)); ; {
		var one T
		if err := d.Decode(&one); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, one)
	}
}

func TestSTIXLibraryReadsIt(t *testing.T) {
	path := filepath.Join(t.TempDir(), "bundle.json")
	result, err := File(path, STIX, each(known()), Options{Now: now, Verdicts: everyVerdict})
	if err != nil {
		t.Fatal(err)
	}
	type indicator struct {
		Name, Operator, Value, Until string
		Types, Labels                []string
	}
	got := decodeLines[indicator](t, python(t, "stix2", "read_stix.py", path))
	if len(got) != result.Written {
		t.Errorf("%d indicators, %d written", len(got), result.Written)
	}
	for _, i := range got {
		want := i.Name
		if name, ok := strings.CutPrefix(want, "*"); ok {
			want = "%" + name
		}
		if i.Value != want {
			t.Errorf("%s: its pattern looks for %q", i.Name, i.Value)
		}
	}
	if diff := cmp.Diff([]string{"Emotet", `c2, "epoch 4"`}, got[0].Labels); diff != "" {
		t.Error(diff)
	}
}

func TestMISPLibraryReadsIt(t *testing.T) {
	dir := t.TempDir()
	result, err := File(dir, MISP, each(known()), Options{Now: now, Verdicts: everyVerdict})
	if err != nil {
		t.Fatal(err)
	}
	type attribute struct {
		Type, Value, Comment string
		ToIDs                bool `json:"to_ids"`
		Tags                 []string
	}
	got := decodeLines[attribute](t, python(t, "pymisp", "read_misp.py", dir))
	if len(got) != result.Written {
		t.Errorf("%d attributes, %d written", len(got), result.Written)
	}
	byValue := map[string]attribute{}
	for _, a := range got {
		byValue[a.Value] = a
	}
	for _, want := range []attribute{
		{"ip-dst", "203.0.113.7", "source: feodo, urlhaus\nhttps://feed.test/1?a=b&c=d\nhttps://reports.test/x\na report on paper", true, []string{"Emotet", `c2, "epoch 4"`}},
		{"domain", "named.test", "source: misp\nrelated by reference: Campaign 7", false, []string{}},
		{"domain", "good.test", "source: warninglist", false, []string{`false-positive:risk="high"`}},
		{"sha512", strings.Repeat("d", 128), "source: +samples", true, []string{}},
		{"url", `http://203.0.113.8/a'b\c?d=%27&e="f"#g;h`, "source: urlhaus\nhttps://reports.test/x\na report on paper", true, []string{}},
		{"ip-dst", "198.51.100.0/22", "source: urlhaus\nhttps://reports.test/x\na report on paper", true, []string{}},
	} {
		if diff := cmp.Diff(want, byValue[want.Value]); diff != "" {
			t.Errorf("%s: %s", want.Value, diff)
		}
	}
}
