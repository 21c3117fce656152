package journal

// OpenSQLite opens the log that a run has by default, for tests that put something
// between the two.
func OpenSQLite(dir string) (Log, error) { return openSQLite(dir) }

// Replay applies a commit's data to an empty run.
func Replay(data []byte) error {
	r := &Run{lanes: map[string]*Lane{}}
	return r.replay(data)
}

// Seal makes a commit's data of records.
func Seal(records []byte) []byte { return seal(records) }

// RecordsVersion is that of the records of commits.
const RecordsVersion = recordsVersion
