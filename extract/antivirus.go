package extract

import (
	"bytes"
	"strings"
)

// Antivirus detection names have no form of their own: they are known by the field or by the words before them.

// maxDetection bounds a detection name, in bytes.
const maxDetection = 128

// detectionFields are the fields of JSON events that hold a detection name and nothing else, of ECS and of products'
// own events; a name of one part stands for every field that ends so. --ignore-fields does not hide them.
var detectionFields = map[string]bool{
	"threat.name": true, "virus.name": true, "malware.name": true, "detection.name": true, "clamav.signature": true,
	"threat_name": true, "threatName": true, "ThreatName": true, "Threat Name": true, "threat": true,
	"virus_name": true, "virusName": true, "virus": true, "malware_name": true, "malware": true, "malware_family": true,
	"antivirus": true, "detection_name": true, "detectionName": true, "av_signature": true,
}

// detectionMarks are the words that end before a ':', '=' or '(' and announce a detection name in a text, in lower case.
var detectionMarks = [256]words{
	':': {"threat name", "virus name", "risk name", "malware name", "detection name", "infected", "malware detected",
		"virus detected", "infected with virus", "virus found", "found virus"},
	'=': {"threatname", "threat_name", "virusname", "virus_name", "virus", "malware", "malware_name", "detectionname"},
	'(': {"infected ", "contains a virus ", "is infected with virus ", "virus "},
}

// detectionEnds are the last two bytes of all detectionMarks, to pass over everything else at little cost.
var detectionEnds = func() map[[2]byte]bool {
	ends := make(map[[2]byte]bool)
	for _, marks := range detectionMarks {
		for _, m := range marks {
			ends[[2]byte{m[len(m)-2], m[len(m)-1]}] = true
		}
	}
	return ends
}()

// detectionLasts are the last bytes of them, in both cases.
var detectionLasts = func() (t [256]bool) {
	for end := range detectionEnds {
		t[end[1]], t[end[1]&^0x20] = true, true
	}
	t[' '], t[0] = true, false
	return t
}()

// notDetections are what stands in the place of a name when nothing was found.
var notDetections = words{"none", "n/a", "na", "no", "yes", "null", "nil", "true", "false", "unknown", "clean", "not found", "ok", "undefined"}

// detectionField reports the text of v as a detection name if the field is one for those.
func (s *Scanner) detectionField(v *view) bool {
	if !isDetectionField(s.field) || !s.isDetection(v.text) || bytes.HasPrefix(v.text, []byte("{")) {
		return false
	}
	s.cur = v
	if s.fieldState == fieldUnknown {
		s.keepField()
	}
	s.emit(Antivirus, s.lowered(v.text), 0, len(v.text))
	return true
}

func isDetectionField(field string) bool {
	cut := strings.LastIndexByte(field, '.')
	if detectionFields[field[cut+1:]] {
		return field[cut+1:] != "threat" || cut < 0
	}
	if cut > 0 {
		cut = strings.LastIndexByte(field[:cut], '.')
	}
	return detectionFields[field[cut+1:]]
}

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

// detection reports the detection name that the words before t[i], a ':', '=' or '(', announce.
func (s *Scanner) detection(t []byte, i int) {
	if i < 2 || !detectionLasts[t[i-1]] || !detectionEnds[[2]byte{lower(t[i-2]), lower(t[i-1])}] ||
		!announced(t[:i], detectionMarks[t[i]]) {
		return
	}
	start := skipBlank(t, i+1)
	if start < len(t) && (t[start] == '"' || t[start] == '\'') {
		start++
	}
	end := start
	for end < len(t) && end-start <= maxDetection && strings.IndexByte("\t\r\n\"'|,;)", t[end]) < 0 {
		end++
	}
	if cut := bytes.IndexByte(t[start:end], ' '); cut > 0 && (t[i] == '=' && t[start-1] != '"' || bytes.ContainsAny(t[start:start+cut], "./:!")) {
		end = start + cut
	}
	if name := t[start:end]; s.isDetection(name) {
		s.emit(Antivirus, s.lowered(name), start, end)
	}
}

// announced reports whether before ends with one of the marks, as words of their own.
func announced(before []byte, marks words) bool {
	for _, mark := range marks {
		n := len(before) - len(mark)
		if n >= 0 && hasFoldPrefix(before[n:], mark) && (n == 0 || class[before[n-1]]&isAlnum == 0) {
			return true
		}
	}
	return false
}

// clamAV reports the name in ClamAV's "/path/to/file: Win.Test.EICAR_HDB-1 FOUND".
func (s *Scanner) clamAV(t []byte) {
	const found = " FOUND"
	end := len(t)
	for end > 0 && (t[end-1] <= ' ' || t[end-1] == '"') {
		end--
	}
	if !bytes.HasSuffix(t[:end], []byte(found)) {
		return
	}
	end -= len(found)
	start := bytes.LastIndex(t[:end], []byte(": ")) + 2
	if cut := bytes.IndexByte(t[max(start, 0):end], '('); cut > 0 {
		end = start + cut
	}
	if start > 1 && end > start && bytes.IndexByte(t[start:end], ' ') < 0 && s.isDetection(t[start:end]) {
		s.emit(Antivirus, s.lowered(t[start:end]), start, end)
	}
}
