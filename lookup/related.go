package lookup

import (
	"iocpipe/extract"
	"iocpipe/intel"
)

// RelatedKeys returns the indicators that a malicious report names. They are known from then on, as related, and need
// no question of their own; reports with another verdict name nothing that would be known by them.
func RelatedKeys(report *intel.Report) []extract.Key {
	if report.Verdict() != intel.Malicious {
		return nil
	}
	var keys []extract.Key
	for relation := range report.Relations() {
		keys = append(keys, relation.Key)
	}
	return keys
}
