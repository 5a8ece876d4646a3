package annotate

import (
	"bytes"
	"hash/maphash"
	"slices"
)

var seed = maphash.MakeSeed()

// fingerprint returns a number that a line, given without its line ending, keeps when it is annotated, so that it can be
// found among many: of an event it covers the members that no annotation touches, of text what stands before one. Other
// lines may have the same, and what comes in as text may leave as an event: see fingerprints.
func fingerprint(line []byte) uint64 {
	var event container
	if _, ok := event.scanEvent(line); !ok {
		return textFingerprint(line)
	}
	var h maphash.Hash
	h.SetSeed(seed)
	for _, m := range event.members {
		if family, _, _ := bytes.Cut([]byte(event.pathOf(m, "")), []byte(".")); !slices.Contains(familyNames[:], string(family)) {
			h.Write(line[m.key.start:m.value.end])
			h.WriteByte(',')
		}
	}
	return h.Sum64()
}

func textFingerprint(line []byte) uint64 {
	text, _, _ := bytes.Cut(line, []byte(textMark+"{"))
	return maphash.Bytes(seed, text)
}

// fingerprints returns the ones that a line which comes in may have when it leaves, in whatever form.
func fingerprints(line []byte) []uint64 {
	prints := []uint64{fingerprint(line), textFingerprint(line)}
	for _, wrapped := range [][]byte{appendBare(nil, nil, line), appendBareEscaped(nil, nil, line)} {
		prints = append(prints, fingerprint(wrapped))
	}
	slices.Sort(prints)
	return slices.Compact(prints)
}
