/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"

#define LONGEST 600

static void every_bit_and_every_length_counts(void **state)
{
	uint8_t bytes[LONGEST] = {0};
	uint64_t whole = sonde_hash(bytes, sizeof(bytes), 0);

	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] ^= 1U << i % 8;
		assert_true(sonde_hash(bytes, sizeof(bytes), 0) != whole);
		bytes[i] ^= 1U << i % 8;
		assert_true(sonde_hash(bytes, i, 0) != whole);
	}
	assert_true(sonde_hash(bytes, sizeof(bytes), 0) == whole);
	assert_true(sonde_hash(bytes, sizeof(bytes), 1) != whole);
}

/* xxhash's own vector: a report id means the same on every machine. */
static void it_is_the_same_everywhere(void **state)
{
	assert_true(sonde_hash("", 0, 0) == 0x2d06800538d394c2ULL);
}

/* Which keys meet in a bucket is not to be known outside, nor from an earlier run. */
static void the_secret_is_the_processs_own(void **state)
{
	uint64_t ours, theirs = 0;
	int out[2];
	pid_t child;

	assert_int_equal(pipe(out), 0);
	child = fork(); /* before this process has drawn its own */
	if (child == 0) {
		theirs = sonde_hash_secret("key", 3);
		_exit(write(out[1], &theirs, sizeof(theirs)) != sizeof(theirs));
	}
	assert_int_equal(read(out[0], &theirs, sizeof(theirs)), sizeof(theirs));
	assert_int_equal(waitpid(child, NULL, 0), child);
	ours = sonde_hash_secret("key", 3);
	assert_true(ours != theirs);
	assert_true(ours == sonde_hash_secret("key", 3));
	assert_true(ours != sonde_hash_secret("keys", 4));
	(void)close(out[0]);
	(void)close(out[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_secret_is_the_processs_own),
		cmocka_unit_test(every_bit_and_every_length_counts),
		cmocka_unit_test(it_is_the_same_everywhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
