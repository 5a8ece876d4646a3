package extract

import (
	"bytes"
	"strings"
)

// Antivirus detection names have no form of their own: they are known by the field or by the words before them.

// maxDetection bounds a detection name, in bytes.
const maxDetection = 128

// detectionFields are the fields of JSON events that hold a detection name and nothing else, in lower case and without
// blanks, dashes and underscores; the name of one part stands for every field that ends so. --ignore-fields does not
// hide them.
var detectionFields = []string{"threat.name", "virus.name", "malware.name", "detection.name", "malware.family",
	"clamav.signature", "threatname", "virusname", "malwarename", "detectionname", "malwarefamily", "riskname",
	"malname", "avsignature", "virus", "malware", "antivirus"}

// detectionField reports the text of v as a detection name if the field is one for those.
func (s *Scanner) detectionField(v *view) bool {
	if !s.names.holdsDetections() || !s.isDetection(v.text) || v.text[0] == '{' {
		return false
	}
	s.cur = v
	if s.wantType(Antivirus) {
		s.add(Match{Key: Key{Antivirus, alias(s.lowered(v.text))}}, 0, len(v.text))
	} else {
		s.drop(Unlisted, 0, len(v.text))
	}
	return true
}

// holdsDetections reports whether the field is one of detectionFields.
func (f *field) holdsDetections() bool {
	if f.detection == unknown {
		f.detection = answerOf(f.mayHoldDetections() && isDetectionField(f.dotted()))
	}
	return f.detection == yes
}

// mayHoldDetections compares the ends of the last names of the field with those that isDetectionField knows.
func (f *field) mayHoldDetections() bool {
	f = f.member()
	if !detectionTails.has(f.name) {
		return false
	}
	return f.name != "name" || detectionParents.has(f.parent.member().name)
}

// isDetectionField compares the end of field with detectionFields. A field "threat" counts at the top only.
func isDetectionField(field string) bool {
	var folded [32]byte // the end of the name, from its last byte to the front
	n, dots := 0, 0
	for i := len(field) - 1; i >= 0 && n < len(folded) && dots < 2; i-- {
		switch c := lower(field[i]); c {
		case '_', '-', ' ':
		case '.':
			dots++
			if isFolded(folded[:n]) {
				return true
			}
			folded[n] = c
			n++
		default:
			folded[n] = c
			n++
		}
	}
	return isFolded(folded[:n]) || strings.EqualFold(field, "threat")
}

// A tailSet is a set of two bytes that names end with, whatever their case; a few others share their place.
type tailSet [32 * 32]bool

func tailIndex(name string) int { return int(name[len(name)-2]&31)<<5 | int(name[len(name)-1]&31) }

func (t *tailSet) has(name string) bool { return len(name) > 1 && t[tailIndex(name)] }

// detectionTails are the ends of detectionFields, which most fields do not have; detectionParents are those of what
// stands before their last dot.
var detectionTails, detectionParents = func() (names, parents tailSet) {
	names[tailIndex("threat")] = true
	for _, f := range detectionFields {
		names[tailIndex(f)] = true
		if parent, _, ok := strings.Cut(f, "."); ok {
			parents[tailIndex(parent)] = true
		}
	}
	return names, parents
}()

// isFolded reports whether one of detectionFields, read backwards, is reversed.
func isFolded(reversed []byte) bool {
next:
	for _, f := range detectionFields {
		if len(f) != len(reversed) {
			continue
		}
		for i := range len(f) {
			if f[len(f)-1-i] != reversed[i] {
				continue next
			}
		}
		return true
	}
	return false
}

// A mark is what announces a detection name in a text, in lower case, before a ':', '=' or '('.
type mark struct {
	text    string
	phrase  bool // the name may have blanks
	defends bool // the name has the form of Microsoft's: Trojan:Win32/Emotet
}

var detectionMarks = [256][]mark{
	':': {{text: "threat name", phrase: true}, {text: "virus name", phrase: true}, {text: "risk name", phrase: true},
		{text: "malware name", phrase: true}, {text: "detection name", phrase: true}, {text: "infected"},
		{text: "malware detected"}, {text: "virus detected"}, {text: "infected with virus"}, {text: "virus found"},
		{text: "found virus"}, {text: "malware family"}, {text: "malware_family"}, {text: "threat_name"},
		{text: "threatname"}, {text: "virusname"}, {text: "name", defends: true}},
	'=': {{text: "threatname"}, {text: "threat_name"}, {text: "threat.name"}, {text: "virusname"}, {text: "virus_name"},
		{text: "virus"}, {text: "malware"}, {text: "malware_name"}, {text: "malware_family"}, {text: "detectionname"}},
	'(': {{text: "infected "}, {text: "contains a virus "}, {text: "is infected with virus "}, {text: "virus "}},
}

// detectionEnds are the last two bytes of all detectionMarks, to pass over everything else at little cost.
var detectionEnds = func() (t tailSet) {
	for _, marks := range detectionMarks {
		for _, m := range marks {
			t[tailIndex(m.text)] = true
		}
	}
	return t
}()

// notDetections are what stands in the place of a name when nothing was found.
var notDetections = newWords("none", "n/a", "na", "no", "yes", "null", "nil", "true", "false", "unknown", "clean",
	"not found", "ok", "undefined", "files", "nothing")

// isDetection reports whether name can be a detection name.
func (s *Scanner) isDetection(name []byte) bool {
	if len(name) < 3 || len(name) > maxDetection || notDetections.has(name) {
		return false
	}
	letters := 0
	for _, c := range name {
		if class[c]&isLetter != 0 {
			letters++
		}
		if c < ' ' {
			return false
		}
	}
	return letters > 1
}

// mayAnnounce reports whether the two bytes before t[i] end a mark.
func mayAnnounce(t []byte, i int) bool {
	return detectionEnds.has(alias(t[:i]))
}

// detection reports the detection name that the words before t[i], a ':', '=' or '(', announce.
func (s *Scanner) detection(t []byte, i int) {
	m, ok := announced(t[:i], detectionMarks[t[i]])
	if !ok {
		return
	}
	start := skipBlank(t, i+1)
	if start < len(t) && (t[start] == '"' || t[start] == '\'') {
		start++
	}
	end := m.nameEnd(t, start)
	if name := t[start:end]; s.isDetection(name) && (!m.defends || isDefenderName(name)) {
		s.emit(Antivirus, s.lowered(name), start, end)
	}
}

// nameEnd returns where the name that begins at t[start] ends: at a delimiter, and at a blank unless the name is
// quoted or a phrase of plain words, which the next key ends.
func (m mark) nameEnd(t []byte, start int) int {
	end := start
	for end < len(t) && end-start <= maxDetection && strings.IndexByte("\t\r\n\"'|,;)", t[end]) < 0 {
		end++
	}
	cut := bytes.IndexByte(t[start:end], ' ')
	switch {
	case cut < 0 || t[start-1] == '"' || t[start-1] == '\'':
		return end
	case !m.phrase || bytes.ContainsAny(t[start:start+cut], "./:!"):
		return start + cut
	}
	if colon := bytes.IndexByte(t[start:end], ':'); colon > 0 { // EICAR test file Severity: high
		end = start + bytes.LastIndexByte(t[start:start+colon], ' ')
	}
	return end
}

// isDefenderName recognises Trojan:Win32/Emotet.A!ml.
func isDefenderName(name []byte) bool {
	colon, slash := bytes.IndexByte(name, ':'), bytes.IndexByte(name, '/')
	return colon > 2 && slash > colon+2 && slash < len(name)-2 && isUpper(name[0]) && name[colon+1] != '/' &&
		marksOf(name[:colon])&^(inWord|isLetter|isCapital|isDOT|isHex) == 0
}

// announced returns the mark that before ends with, as words of their own.
func announced(before []byte, marks []mark) (m mark, ok bool) {
	for _, m := range marks {
		n := len(before) - len(m.text)
		if n >= 0 && hasFoldPrefix(before[n:], m.text) && (n == 0 || class[before[n-1]]&isAlnum == 0) {
			return m, true
		}
	}
	return m, false
}

// infectedBy are the words before a name that stands between blanks, as ClamAV's milter and others write.
var infectedBy = []mark{{text: "infected by "}, {text: "infected with "}}

// infection reports the word t[start:end], which is no domain, as a detection name behind such words.
func (s *Scanner) infection(t []byte, start, end int) {
	if start == 0 || t[start-1] != ' ' {
		return
	}
	if _, ok := announced(t[:start], infectedBy); ok && s.isDetection(t[start:end]) {
		s.emit(Antivirus, s.lowered(t[start:end]), start, end)
	}
}

// clamAV reports the name in ClamAV's "/path/to/file: Win.Test.EICAR_HDB-1 FOUND".
func (s *Scanner) clamAV(t []byte) {
	const found = " FOUND"
	end := len(t)
	for end > 0 && (t[end-1] <= ' ' || t[end-1] == '"') {
		end--
	}
	if end == 0 || t[end-1] != 'D' || !bytes.HasSuffix(t[:end], []byte(found)) {
		return
	}
	end -= len(found)
	start := bytes.LastIndex(t[:end], []byte(": "))
	if start < 0 {
		return
	}
	start += len(": ")
	if cut := bytes.IndexByte(t[start:end], '('); cut > 0 {
		end = start + cut
	}
	if bytes.IndexByte(t[start:end], ' ') < 0 && s.isDetection(t[start:end]) {
		s.emit(Antivirus, s.lowered(t[start:end]), start, end)
	}
}
