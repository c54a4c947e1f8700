/* SPDX-License-Identifier: Apache-2.0 */
#include "base/hash.h"

#include <errno.h>
#include <pthread.h>
#include <sys/random.h>

#include "base/cleanup.h"
#include "base/clock.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

static uint8_t secret[XXH3_SECRET_DEFAULT_SIZE];

/* Early in a boot there may be no randomness yet: addresses and the clock are better than nothing. */
static void draw_secret(void)
{
	const uint64_t bits[] = {(uint64_t)(uintptr_t)&secret, sonde_mono_ns()};
	size_t got = 0;

	while (got < sizeof(secret)) {
		ssize_t n = getrandom(secret + got, sizeof(secret) - got, GRND_NONBLOCK);

		if (n > 0)
			got += (size_t)n;
		else if (n == 0 || errno != EINTR)
			break;
	}
	if (got < sizeof(secret))
		(void)XXH3_generateSecret(secret, sizeof(secret), bits, sizeof(bits));
}

uint64_t sonde_hash(const void *data, size_t n, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, n, seed);
}

uint64_t sonde_hash_secret(const void *data, size_t n)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	(void)pthread_once(&once, draw_secret);
	return XXH3_64bits_withSecret(data, n, secret, sizeof(secret));
}
