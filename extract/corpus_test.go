package extract

import (
	"bufio"
	"encoding/json"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
)

// A labelled is a line with the values in it. If Complete, there are no others of the types ip, domain, email and hash.
type labelled struct {
	ID, Source, Text string
	Expect           map[string][]string
	Complete         bool
}

// disputed are expectations of the sources that are wrong, with the reason.
var disputed = map[string]string{
	"domain:2ffreasdfuewriter.com":  "%2F is an escaped slash wherever it stands, so that the name begins behind it",
	"domain:freasdfuewriter.com":    "the same",
	`email:"john..doe"@example.com`: "RFC 5321 allows any dots in a quoted local part; the source has it among its complete addresses",
}

// TestLabelled runs the cases of testdata/cases.jsonl, each from the tests of another project, and those of the file
// that IOCPIPE_CORPUS names.
func TestLabelled(t *testing.T) {
	for _, path := range append([]string{"testdata/cases.jsonl"}, envPath("IOCPIPE_CORPUS")...) {
		for _, c := range readLabelled(t, path) {
			checkLabelled(t, c)
		}
	}
}

func envPath(name string) []string {
	if path := os.Getenv(name); path != "" {
		return []string{path}
	}
	return nil
}

func readLabelled(t *testing.T, path string) (cases []labelled) {
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c labelled
		if err := json.Unmarshal(lines.Bytes(), &c); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		cases = append(cases, c)
	}
	if err := lines.Err(); err != nil || len(cases) == 0 {
		t.Fatalf("%s: %d cases, %v", path, len(cases), err)
	}
	return cases
}

func checkLabelled(t *testing.T, c labelled) {
	t.Helper()
	s := Scanner{Defang: DefangAll}
	var got, want []string
	for _, m := range s.Append(nil, []byte(c.Text)) {
		if m.Type != Antivirus {
			got = append(got, kindOf(m.Type)+":"+m.Value)
		}
	}
	for kind, values := range c.Expect {
		for _, v := range values {
			want = append(want, kind+":"+spelling(kind, v))
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) && disputed[w] == "" {
			t.Errorf("%s (%s): %s is missing from %q in %q", c.ID, c.Source, w, got, c.Text)
		}
	}
	for _, g := range got {
		if c.Complete && !slices.Contains(want, g) && disputed[g] == "" {
			t.Errorf("%s (%s): %s is not in %q", c.ID, c.Source, g, c.Text)
		}
	}
}

func kindOf(typ Type) string {
	if typ.IsHash() {
		return "hash"
	}
	return typ.String()
}

// spelling returns a value of a corpus as the scanner spells it.
func spelling(kind, value string) string {
	value = strings.ToLower(strings.TrimSuffix(value, "."))
	if addr, err := netip.ParseAddr(value); kind == "ip" && err == nil {
		return addr.Unmap().String()
	}
	return value
}
