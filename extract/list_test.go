package extract

import (
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

func TestListHas(t *testing.T) {
	const text = `# what is ours
198.51.100.7      ; one host
203.0.113.0/25
203.0.113.64/26   # inside of the one before
::ffff:192.0.2.0/120
2001:db8::/32
example.com
=exact.example.net
*.below.example.net
.dotted.example.net
Bücher.example
corp
john@example.org
D41D8CD98F00B204E9800998ECF8427E
`
	var l List
	if err := l.Load(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	for _, value := range []string{"198.51.100.7", "203.0.113.0", "203.0.113.127", "192.0.2.255",
		"2001:db8:ffff::1", "example.com",
		"a.b.example.com", "exact.example.net", "below.example.net", "x.below.example.net", "x.dotted.example.net",
		"xn--bcher-kva.example", "dc01.corp", "john@example.org", "anybody@mail.example.com",
		"d41d8cd98f00b204e9800998ecf8427e"} {
		if !l.Has(mustKey(t, value)) {
			t.Errorf("%s is not on the list", value)
		}
	}
	for _, value := range []string{"198.51.100.8", "203.0.113.128", "192.0.1.255", "2001:db9::", "badexample.com",
		"com.example",
		"x.exact.example.net", "example.net", "jane@example.org", "d41d8cd98f00b204e9800998ecf8427f"} {
		if l.Has(mustKey(t, value)) {
			t.Errorf("%s is on the list", value)
		}
	}
	if n := l.Len(); n != 12 {
		t.Errorf("Len is %d, want 12: a network inside of another is no entry", n)
	}
}

func mustKey(t *testing.T, value string) Key {
	t.Helper()
	key, ok := ParseKey(value)
	if !ok {
		t.Fatalf("%q is no value", value)
	}
	return key
}

func TestListAdd(t *testing.T) {
	var l List
	for _, network := range []string{"203.0.113.0/24", "10.0.0.0/8", "192.0.2.0/24"} {
		if err := l.Add(network); err != nil {
			t.Fatal(err)
		}
	}
	for _, value := range []string{"10.1.2.3", "192.0.2.1", "203.0.113.1"} {
		if !l.Has(Key{IP, value}) {
			t.Errorf("%s is not on the list", value)
		}
	}
	for _, bad := range []string{"", "1.2.3.400", "a b", "-x.com", "1.2.3.4/33", "http://example.com/"} {
		if err := l.Add(bad); err == nil {
			t.Errorf("Add(%q) succeeds", bad)
		}
	}
	if err := l.Add("TEST"); err != nil || !l.Has(Key{Domain, "a.test"}) {
		t.Errorf("a top-level domain in capitals covers nothing below: %v", err)
	}
	if (*List)(nil).Has(Key{IP, "10.1.2.3"}) || (*List)(nil).Len() != 0 {
		t.Error("the nil List is not empty")
	}
}

func TestListErrors(t *testing.T) {
	path := filepath.Join(t.TempDir(), "allow.txt")
	if err := os.WriteFile(path, []byte("example.com\nnot a value\n1.2.3.400\n198.51.100.7"), 0o600); err != nil {
		t.Fatal(err)
	}
	var l List
	err := l.LoadFile(path)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "line 2") ||
		!strings.Contains(err.Error(), "line 3") {
		t.Errorf("the error is %v, want the file and lines 2 and 3", err)
	}
	if !l.Has(Key{Domain, "example.com"}) || !l.Has(Key{IP, "198.51.100.7"}) {
		t.Error("the good lines of a list with bad ones are not taken")
	}
	if err := l.LoadFile(filepath.Join(t.TempDir(), "missing")); !os.IsNotExist(err) {
		t.Errorf("a missing file gives %v", err)
	}
	for _, bad := range []string{`{"type":"string"`, `{"type":"colour","list":["red"]}`} {
		if err := l.Load(strings.NewReader(bad)); err == nil {
			t.Errorf("Load(%s) succeeds", bad)
		}
	}
}

// TestListUnpacked checks that a list may be compressed.
func TestListUnpacked(t *testing.T) {
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	if _, err := w.Write([]byte(`{"type":"hostname","list":["example.com"]}`)); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	var l List
	if err := l.Load(bytes.NewReader(packed.Bytes())); err != nil || !l.Has(Key{Domain, "example.com"}) {
		t.Errorf("a compressed list gives %v and %d entries", err, l.Len())
	}
	if err := l.Load(bytes.NewReader(packed.Bytes()[:4])); err == nil {
		t.Error("a list whose head is cut off loads")
	}
}

// TestWarninglists loads pieces of lists of github.com/MISP/misp-warninglists.
func TestWarninglists(t *testing.T) {
	for _, tt := range []struct {
		file      string
		loose     bool
		has, lack string
	}{
		{"rfc1918", false, "172.31.255.255", "172.32.0.0"},
		{"public-dns-v4", false, "1.0.0.19", "1.0.0.20"},
		{"cisco_top10k", false, "www.google.com", "mail.google.com"},
		{"covid", false, "www.aatishb.com", "notaatishb.com"},
		{"automated-malware-analysis", true, "cdn.app.any.run", "any.run"},
		{"common-contact-emails", true, "abuse@example.net", "john@example.net"},
	} {
		for _, loose := range []bool{tt.loose, true} {
			l := List{Loose: loose}
			if err := l.LoadFile("testdata/warninglist-" + tt.file + ".json"); err != nil {
				t.Fatal(err)
			}
			if !l.Has(mustKey(t, tt.has)) || l.Has(mustKey(t, tt.lack)) {
				t.Errorf("%s: has %s: %v, has %s: %v", tt.file, tt.has, l.Has(mustKey(t, tt.has)), tt.lack, l.Has(mustKey(t, tt.lack)))
			}
		}
		if l := new(List); tt.loose && (l.LoadFile("testdata/warninglist-"+tt.file+".json") != nil || l.Len() > 0) {
			t.Errorf("%s is taken without Loose", tt.file)
		}
	}
}

func TestPolicySkip(t *testing.T) {
	var allow, own List
	for l, value := range map[*List]string{&allow: "allowed.org", &own: "owned.org"} {
		if err := l.Add(value); err != nil {
			t.Fatal(err)
		}
	}
	p := Policy{Allow: &allow, Own: &own}
	for skip, values := range map[Skip]string{
		Worth: `11.0.0.1 100.63.255.255 100.128.0.0 172.15.0.1 172.32.0.1 192.0.1.1 198.17.0.1 198.20.0.1 223.255.255.255 1.1.1.4
			2a00:1450::1 2001:4860::1 2620:fe::1 evil.com example.co.uk notexample.com j@evil.com d41d8cd98f00b204e9800998ecf8427e`,
		SpecialRange: `0.1.2.3 10.0.0.1 100.64.0.1 127.0.0.1 169.254.1.1 172.16.0.1 172.31.255.255 192.0.0.8 192.0.2.1 192.88.99.1
			192.168.1.1 198.18.0.1 198.19.255.255 198.51.100.1 203.0.113.1 224.0.0.1 239.255.255.255 240.0.0.1 255.255.255.255 192.31.196.1
			192.52.193.1 192.175.48.1 :: ::1 fe80::1 fc00::1 fd12::1 ff02::1 2001:db8::1 2001::1 2002::1 3fff::1 5f00::1 64:ff9b::808:808
			100::1 2620:4f:8000::1`,
		SpecialName: `printer.local x.test a.example b.invalid c.localhost d.onion e.alt f.internal g.corp h.home i.lan
			j.localdomain k.intranet l.private router.home.arpa example.com www.example.net mail.example.org j@example.com j@dc.corp`,
		ReverseZone: "100.51.198.in-addr.arpa 8.b.d.0.1.0.0.2.ip6.arpa",
		Resolver:    "8.8.8.8 1.1.1.1 9.9.9.9 208.67.222.222 2001:4860:4860::8888 2606:4700:4700::1111 2620:fe::fe dns.google one.one.one.one",
		Owned:       "owned.org www.owned.org j@mail.owned.org",
		Allowed:     "allowed.org www.allowed.org j@allowed.org",
	} {
		for value := range strings.FieldsSeq(values) {
			if got := p.Skip(mustKey(t, value)); got != skip {
				t.Errorf("Skip(%s) = %v, want %v", value, got, skip)
			}
		}
	}
}

// TestTexts checks that each rule and reason has a name and says what it is.
func TestTexts(t *testing.T) {
	seen := make(map[string]bool)
	check := func(text string) {
		t.Helper()
		if !regexp.MustCompile(`^[a-z]+(-[a-z]+)*: .`).MatchString(text) || seen[text] {
			t.Errorf("%q is no text of a rule, or that of two", text)
		}
		seen[text] = true
	}
	for r := BadOctet; r < numRules; r++ {
		check(r.String())
	}
	for s := SpecialRange; s <= Allowed; s++ {
		check(s.String())
	}
}

func TestListWith(t *testing.T) {
	listOf := func(values ...string) *List {
		l := new(List)
		for _, value := range values {
			if err := l.Add(value); err != nil {
				t.Fatal(err)
			}
		}
		return l
	}
	has := func(l *List, value string) bool {
		key, ok := ParseKey(value)
		if !ok {
			t.Fatal(value)
		}
		return l.Has(key)
	}
	a, b, c := listOf("one.example", "192.0.2.0/24"), listOf("two.example"), listOf("198.51.100.7")
	all := a.With(nil).With(b).With(c)
	for _, value := range []string{"www.one.example", "192.0.2.3", "two.example", "198.51.100.7"} {
		if !has(all, value) {
			t.Errorf("%s is not covered", value)
		}
	}
	if has(all, "three.example") || has(a, "two.example") || has(b, "198.51.100.7") {
		t.Error("more is covered than was added")
	}
	if n := all.Len(); n != 4 {
		t.Errorf("got %d entries, want 4", n)
	}
	if (*List)(nil).With(nil) != nil || (*List)(nil).With(b) != b {
		t.Error("nil is no empty list")
	}
}
