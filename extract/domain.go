package extract

import (
	"bytes"
	"strings"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

const (
	maxDomain = 253
	maxLabel  = 63
)

// A suffixCache remembers what the public suffix list says of last labels and of names of two, so that it is asked
// once for each. It is of fixed size, two entries to a place: junk replaces junk.
type suffixCache [512][2]cachedKind

type cachedKind struct {
	name packed
	kind tldKind
}

// packed is a name of up to 32 bytes, whatever its case, as numbers. No public suffix is longer.
type packed [4]uint64

// A tldKind says what is known of a last label, and how much it proves by itself.
type tldKind uint8

const (
	noTLD        tldKind = iota // not in the list's public section
	plainTLD                    // a top-level domain and hardly ever anything else
	memberTLD                   // also a common name of a member or property: id, name, info
	fileTLD                     // also the extension of a file, but better known as a domain: pl, cc, app
	extensionTLD                // better known as the extension of a file: sh, py, rs, md, zip
	closedTLD                   // a word under which nobody can register: what ends in it is no domain

	isSuffix  // of a name of several labels: others register below it
	belowOnes // of such a name: nobody does
)

func pack(name []byte) (p packed) {
	for i := 0; len(name) > 0; i++ {
		n := min(len(name), 8)
		p[i] = packEight(name[:n])
		name = name[n:]
	}
	return p
}

// packEight packs up to eight bytes of a name. Of those that names have, only capitals and small letters fall together.
func packEight(b []byte) (p uint64) {
	for _, c := range b {
		p = p<<8 | uint64(c|0x20)
	}
	return p
}

// kind returns what look finds out about name, or found out before; names that are longer than any suffix are noTLD.
// A label and a name cannot be mixed up: only the name has a dot.
func (c *suffixCache) kind(name []byte, look func([]byte) tldKind) tldKind {
	if len(name) > 8*len(packed{}) {
		return noTLD
	}
	key := pack(name)
	hash := key[0] ^ key[1]*0x9E3779B97F4A7C15 ^ key[2]*0xC2B2AE3D27D4EB4F ^ key[3]
	place := &c[hash*0x9E3779B97F4A7C15>>55]
	if place[0].name != key {
		if place[1].name != key {
			place[1] = cachedKind{key, look(name)}
		}
		place[0], place[1] = place[1], place[0]
	}
	return place[0].kind
}

// lookUpTLD asks the public suffix list about label, the part behind the last dot: letters only, or an A-label.
func lookUpTLD(label []byte) tldKind {
	if len(label) < 2 || len(label) > maxLabel {
		return noTLD
	}
	var buf [len("x.") + maxLabel]byte
	name := append(buf[:0], "x."...)
	for _, c := range label {
		name = append(name, lower(c))
	}
	kind, ambiguous := ambiguousTLDs[string(name[len("x."):])]
	switch {
	case specialTLDs.has(label) && !ambiguous:
		return plainTLD
	case specialTLDs.has(label):
		return memberTLD
	}
	// A suffix of the list's private section, or one that is not in the list, is not marked as ICANN's.
	if _, icann := publicsuffix.PublicSuffix(alias(name)); !icann {
		return noTLD
	}
	if ambiguous {
		return kind
	}
	return plainTLD
}

// A name is a candidate for a domain: a word of a text, trimmed to its labels.
type name struct {
	text       []byte // where it stands
	start, end int    // in text
	labels     int    // how many
	second     int    // where the label before the last begins, in text
	tld        int    // where the last label begins, in text
	upper      bool   // whether a capital occurs
	kind       tldKind
}

// domain handles t[start:end], a word with a dot that is no address; its bytes have the classes marks.
func (s *Scanner) domain(t []byte, start, end int, marks byteClass) {
	n, rule := s.parseName(t, start, end, marks)
	if rule == BadLabel {
		if tail := soundTail(t, start, end); tail > start {
			s.drop(BadLabel, start, tail)
			start = tail
			n, rule = s.parseName(t, start, end, marksOf(t[start:end]))
		}
	}
	if rule == Accepted {
		rule = s.codeContext(&n)
	}
	if rule != Accepted {
		s.drop(rule, start, end)
		if rule == NotTLD {
			s.infection(t, start, end)
			if marks&isDash != 0 {
				s.addressesBetweenDashes(t, start, end)
			}
			s.addressBehindDots(t, start, end)
		}
		return
	}
	value := n.text[n.start:n.end]
	if hasFoldPrefix(n.last(), "arpa") && s.reverseZone(&n) {
		return
	}
	if n.upper {
		value = s.lowered(value)
	}
	s.emit(Domain, value, n.start, n.end)
}

// parseName finds the labels of the word t[start:end], whose bytes have the classes marks, and checks all that makes a
// registrable name, without regard to what stands around it.
func (s *Scanner) parseName(t []byte, start, end int, marks byteClass) (n name, rule Rule) {
	for start < end && (t[start] == '.' || t[start] == '-') {
		start++
	}
	for end > start && (t[end-1] == '.' || t[end-1] == '-' || t[end-1] == '_') {
		end--
	}
	dot := bytes.LastIndexByte(t[start:end], '.')
	if dot < 0 {
		return n, NotTLD
	}
	n = name{text: t, start: start, end: end, tld: start + dot + 1}
	label := t[n.tld:end]
	if class[label[0]]&isLetter == 0 {
		return n, NotTLD
	}
	if n.kind = s.suffixes.kind(label, lookUpTLD); n.kind == noTLD {
		return n, NotTLD
	}
	if end-start > maxDomain {
		return n, TooLong
	}
	if rule = n.checkLabels(marks); rule != Accepted {
		return n, rule
	}
	if n.kind == closedTLD {
		return n, Property
	}
	if n.mayBeSuffix() && s.suffixes.kind(t[start:end], lookUpName) == isSuffix {
		return n, PublicSuffix
	}
	return n, Accepted
}

// checkLabels counts the labels and checks the form of each. Underscores are allowed where DNS has them, in front of
// the registered name: _dmarc.example.com.
func (n *name) checkLabels(marks byteClass) Rule {
	n.upper, n.second = marks&isCapital != 0, n.start
	underscore := -1
	for from := n.start; from <= n.end; {
		label := n.text[from:n.end]
		if dot := bytes.IndexByte(label, '.'); dot >= 0 {
			label = label[:dot]
		}
		if len(label) == 0 || len(label) > maxLabel || label[0] == '-' || label[len(label)-1] == '-' {
			return BadLabel
		}
		if marks&isDash != 0 && bytes.IndexByte(label, '_') >= 0 {
			underscore = from
		}
		n.labels++
		if from < n.tld {
			n.second = from
		}
		from += len(label) + 1
	}
	if underscore >= n.second {
		return Underscore
	}
	return Accepted
}

// soundTail returns where the name begins that stands behind the last label of t[start:end] that no name has, as in
// more...example.com; start if none does.
func soundTail(t []byte, start, end int) int {
	tail := start
	for from := start; from < end; {
		dot := bytes.IndexByte(t[from:end], '.')
		if dot < 0 {
			break
		}
		switch label := t[from : from+dot]; {
		case len(label) == 0 || len(label) > maxLabel || label[len(label)-1] == '-':
			tail = from + dot + 1
		case label[0] == '-':
			tail = from + 1
		}
		from += dot + 1
	}
	if bytes.IndexByte(t[tail:end], '.') < 0 {
		return start
	}
	return tail
}

// mayBeSuffix reports whether the name has few enough labels to be a public suffix itself.
func (n *name) mayBeSuffix() bool {
	if n.labels > 3 || n.labels == 3 && n.end-n.tld > 2 {
		return false
	}
	switch string(n.last()) {
	case "com", "net", "org":
		return false // they have none
	}
	return true
}

// lookUpName says whether the whole of domain is a suffix of the list's public section. Suffixes of its private
// section, such as github.io, are hosts as well.
func lookUpName(domain []byte) tldKind {
	suffix, icann := publicsuffix.PublicSuffix(loweredAlias(domain))
	if icann && len(suffix) == len(domain) {
		return isSuffix
	}
	return belowOnes
}

// loweredAlias returns name in lower case, without a copy if it is so already.
func loweredAlias(name []byte) string {
	if hasUpper(name) {
		return strings.ToLower(string(name))
	}
	return alias(name)
}

// toASCII returns the A-label form of a name in another script. Names that IDNA refuses are no domains.
func toASCII(domain []byte) (string, bool) {
	if len(domain) > 4*maxDomain {
		return "", false
	}
	ascii, err := idna.Lookup.ToASCII(string(domain))
	return ascii, err == nil && len(ascii) <= maxDomain
}
