/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's counters as text: whatever it is, bounds hold, and what is known was there. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "host/net-counters.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* A copy without a NUL behind it: a read past its end is seen. */
	_cleanup_free_ char *text = size ? malloc(size) : NULL;
	struct sonde_net_counters c = {0};
	int r;

	if (!text)
		return 0;
	memcpy(text, data, size);
	r = sonde_net_counters_parse_pairs(text, size, &c);
	if (r < 0)
		r = sonde_net_counters_parse_list(text, size, &c);
	if (r > 0)
		__builtin_trap();
	for (size_t i = 0; i < _SONDE_NET_COUNTER_MAX; i++) {
		if (!c.known[i] && c.value[i])
			__builtin_trap();
	}
	return 0;
}
