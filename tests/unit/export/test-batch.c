/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <string.h>

#include "export/batch.h"

/* Of a batch of these messages, "" is none. */
static uint64_t hash_of(const char *first, const char *second)
{
	struct sonde_batch b = SONDE_BATCH_INIT(0);
	const char *const text[] = {first, second};
	uint64_t hash;

	for (size_t i = 0; i < 2; i++) {
		if (!text[i][0])
			continue;
		b.messages[b.n] = SONDE_BUF_INIT(SONDE_BATCH_COLLECTION_MAX);
		assert_ok(sonde_buf_append(&b.messages[b.n++], text[i], strlen(text[i])));
	}
	hash = sonde_batch_hash(&b);
	sonde_batch_done(&b);
	return hash;
}

/* One report sent twice is told by it, and no two that differ are taken for one. */
static void the_hash_tells_reports_apart(void **state)
{
	assert_true(hash_of("abc", "def") == hash_of("abc", "def"));
	assert_true(hash_of("abc", "def") != hash_of("abd", "def"));
	assert_true(hash_of("abc", "def") != hash_of("def", "abc"));
	assert_true(hash_of("abc", "def") != hash_of("abcd", "ef"));
	assert_true(hash_of("abc", "def") != hash_of("abcdef", ""));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_hash_tells_reports_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
