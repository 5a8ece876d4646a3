package extract

import (
	"cmp"
	"fmt"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/publicsuffix"
)

// The reference scanner finds addresses, domains and hashes in the most obvious way: a regular expression for each
// token, the standard library and the public suffix list for what it is. It shares with the real one only what stands
// around a token, the rules for versions, code names and identifiers, and the table of assigned ranges. It reads plain ASCII text without e-mail
// addresses, escapes and addresses between dashes.

var (
	wordPattern    = regexp.MustCompile(`[0-9A-Za-z._-]+`)
	colonPattern   = regexp.MustCompile(`[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*`)
	quadPattern    = regexp.MustCompile(`^(\.*)([0-9]+\.[0-9]+\.[0-9]+\.[0-9]+)\.*$`)
	alnumPattern   = regexp.MustCompile(`[0-9A-Za-z]+`)
	hexPattern     = regexp.MustCompile(`^(?:0[xX])?([0-9A-Fa-f]{32}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}|[0-9A-Fa-f]{128})$`)
	namePattern    = regexp.MustCompile(`^(?:_?[0-9A-Za-z](?:[0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?\.)+[A-Za-z](?:[0-9A-Za-z-]{0,61}[0-9A-Za-z])?$`)
	excludePattern = regexp.MustCompile(`[^ -~]|[@%\\]|^[ \t]*[{]|@cee|[0-9]\.[0-9.]*[-_]|[-_][0-9.]*\.[0-9]|_\.|\._|__|-\.|\.-|_-|-_`)
)

// A referenceFinding is what the reference scanner finds, with where it begins.
type referenceFinding struct {
	start int
	text  string
}

// referenceScan returns "type value" for each indicator in line; ok is false for lines that it does not read.
func referenceScan(line string) (found []string, ok bool) {
	if excludePattern.MatchString(line) {
		return nil, false
	}
	var all []referenceFinding
	add := func(start int, typ Type, value string) {
		all = append(all, referenceFinding{start, typ.String() + " " + value})
	}
	rest := []byte(line) // addresses of version 6 are blanked out in it
	for _, at := range colonPattern.FindAllStringIndex(line, -1) {
		if addr, stop, found := referenceV6(line, at[0], at[1]); found {
			add(at[0], IP, addr)
			copy(rest[at[0]:stop], strings.Repeat(" ", stop-at[0]))
		}
	}
	for _, at := range alnumPattern.FindAllIndex(rest, -1) {
		if typ, value := referenceHash(line, at[0], at[1]); typ != None {
			add(at[0], typ, value)
		}
	}
	for _, at := range wordPattern.FindAllIndex(rest, -1) {
		if typ, value := referenceWord(line, at[0], at[1]); typ != None {
			add(at[0], typ, value)
		}
	}
	slices.SortFunc(all, compareFindings)
	for _, f := range all {
		found = append(found, f.text)
	}
	return found, true
}

// compareFindings orders by place; a domain may begin with a hash.
func compareFindings(a, b referenceFinding) int {
	return cmp.Or(cmp.Compare(a.start, b.start), cmp.Compare(a.text, b.text))
}

func isWordByte(line string, i int) bool {
	return i >= 0 && i < len(line) && wordPattern.MatchString(line[i:i+1])
}

func referenceV6(line string, start, end int) (value string, stop int, found bool) {
	if strings.HasPrefix(line[start:end], ":") && !strings.HasPrefix(line[start:end], "::") {
		start++ // ip:2001:db8::1
	}
	key, _, _ := strings.Cut(line[start:end], ":") // eth0:2001:db8::1, eth0.1:2001:db8::1
	if isWordByte(line, start-1) && line[start-1] != '-' || strings.Contains(key, ".") {
		if start += len(key) + 1; start >= end || line[start] == ':' {
			return "", 0, false
		}
	}
	run := line[start:end]
	if !strings.Contains(run, "::") && strings.Count(run, ":") < 7 ||
		isWordByte(line, start-1) && line[start-1] != '-' || isWordByte(line, end) && line[end] != '-' {
		return "", 0, false
	}
	for strings.HasSuffix(run, ".") || strings.HasSuffix(run, ":") && !strings.HasSuffix(run, "::") {
		run = run[:len(run)-1] // of the sentence
	}
	if strings.Count(run, ":") > 8 {
		return "", 0, false // more than an address and a port have
	}
	if strings.Count(run, ":") == 8 && strings.HasSuffix(line[:start], "/") {
		run = run[:strings.LastIndex(run, ":")] // a port, as Java writes
	} else if strings.Count(run, ".") == 1 {
		run, _, _ = strings.Cut(run, ".") // a port, as tcpdump writes
	}
	stop = start + len(run)
	addr, err := netip.ParseAddr(run)
	certain := strings.Count(run, ":") >= 6 || inAssignedRange(addr.Unmap()) ||
		openBracket.MatchString(line[:start]) && bracketedPort.MatchString(line[stop:]) ||
		!openWord.MatchString(line[:start]) && prefixLength.MatchString(line[stop:])
	return addr.Unmap().String(), stop, err == nil && certain && !pairsPattern.MatchString(run)
}

// What an address of version 6 is not, and what stands around one that is certain.
var (
	pairsPattern  = regexp.MustCompile(`^(?:[0-9A-Fa-f]{2}:){7}[0-9A-Fa-f]{2}$`)
	openBracket   = regexp.MustCompile(`\[$`)
	bracketedPort = regexp.MustCompile(`^\]:[0-9]`)
	openWord      = regexp.MustCompile(`[0-9A-Za-z._:@-]$`)
	prefixLength  = regexp.MustCompile(`^/[0-9]`)
)

func referenceWord(line string, start, end int) (Type, string) {
	var s Scanner
	word := line[start:end]
	if m := quadPattern.FindStringSubmatchIndex(word); m != nil {
		addr, err := netip.ParseAddr(word[m[4]:m[5]])
		rooted := word[m[2]:m[3]] == "."
		if err != nil || rooted || s.versionContext([]byte(line), start+m[4], start+m[5]) != Accepted {
			return None, ""
		}
		return IP, addr.String()
	}
	if cut := strings.LastIndex(strings.TrimRight(word, "."), ".."); cut > 0 && quadPattern.MatchString(word[cut+2:]) {
		return referenceWord(line, start+cut+2, end) // behind the dots of a leader
	}
	dotted := strings.Trim(word, ".")
	if cut := strings.LastIndexByte(dotted, '.'); cut > 0 && strings.Trim(dotted, "0123456789.") == "" {
		if from := start + strings.Index(word, dotted); portAfterDot([]byte(line), from, from+len(dotted)) > 0 {
			return IP, dotted[:cut]
		}
	}
	return referenceName(&s, line, start, end)
}

func referenceName(s *Scanner, line string, start, end int) (Type, string) {
	start += len(line[start:end]) - len(strings.TrimLeft(line[start:end], ".-"))
	end = start + len(strings.TrimRight(line[start:max(start, end)], ".-_"))
	name := strings.ToLower(line[start:max(start, end)])
	for len(name) <= maxDomain && !namePattern.MatchString(name) && strings.Contains(name, ".") {
		_, name, _ = strings.Cut(name, ".")
		name = strings.TrimLeft(name, ".-")
	}
	if len(name) > maxDomain || !namePattern.MatchString(name) {
		return None, ""
	}
	start = end - len(name)
	tld := name[strings.LastIndexByte(name, '.')+1:]
	suffix, icann := publicsuffix.PublicSuffix(name)
	_, known := publicsuffix.PublicSuffix("x." + tld)
	if kind := lookUpTLD([]byte(tld)); !known && kind == noTLD || kind == closedTLD || icann && suffix == name {
		return None, ""
	}
	labels := strings.Split(name, ".")
	if strings.Contains(labels[len(labels)-2], "_") {
		return None, ""
	}
	if addr, ok := parseReverse([]byte(name)); ok {
		return IP, addr.String()
	}
	n, _ := s.parseName([]byte(line), start, end, marksOf([]byte(line[start:end])))
	if s.codeContext(&n) != Accepted {
		return None, ""
	}
	return Domain, name
}

func referenceHash(line string, start, end int) (Type, string) {
	m := hexPattern.FindStringSubmatchIndex(line[start:end])
	if m == nil || m[2] > 0 && m[3]-m[2] == 40 {
		return None, ""
	}
	var s Scanner
	if s.hashContext([]byte(line), start+m[2], start+m[3]) != Accepted {
		return None, ""
	}
	return hashType(m[3] - m[2]), strings.ToLower(line[start+m[2] : start+m[3]])
}

// FuzzReference holds the scanner against the reference scanner.
func FuzzReference(f *testing.F) {
	f.Add("0::0:0:0:0:0.:::0")                      // a dot in a run of more colons than any address has
	f.Add("0 .0000000000000000000000000000000A.ax") // a domain that begins with a hash
	for _, line := range seedLines(f) {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		want, ok := referenceScan(line)
		if !ok {
			t.Skip()
		}
		s := Scanner{Types: AllTypes &^ (1<<Antivirus | 1<<Email)}
		var findings []referenceFinding
		for _, m := range s.Append(nil, []byte(line)) {
			findings = append(findings, referenceFinding{m.Start, fmt.Sprintf("%s %s", m.Type, m.Value)})
		}
		slices.SortFunc(findings, compareFindings)
		var got []string
		for _, f := range findings {
			got = append(got, f.text)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q\n got %q\nwant %q", line, got, want)
		}
	})
}

// seedLines are the texts of the case files and the lines of testdata/logs.
func seedLines(tb testing.TB) (lines []string) {
	for _, pattern := range []string{"testdata/*.txt", "../testdata/logs/*.log"} {
		for _, path := range glob(tb, pattern) {
			data, err := os.ReadFile(path)
			if err != nil {
				tb.Fatal(err)
			}
			for line := range strings.SplitSeq(string(data), "\n") {
				if line != "" && line[0] != '\t' && line[0] != '#' {
					lines = append(lines, line)
				}
			}
		}
	}
	return lines
}
