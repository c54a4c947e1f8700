/* SPDX-License-Identifier: Apache-2.0 */
/* Kernel text as the probe reads it, its own file of ids and its policy: whatever the bytes, yes or no. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "host/cgroup2.h"
#include "host/identity.h"
#include "host/listeners.h"
#include "host/netns.h"
#include "probe/bpf-ids.h"
#include "probe/policy.h"

#define BOOT "01234567-89ab-cdef-0123-456789abcdef"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_lines(const char *text)
{
	struct sonde_listeners_line line;
	struct sonde_bpf_id id;
	char buf[64];
	uint32_t v;

	(void)!sonde_listeners_parse_line(text, AF_INET, &line);
	(void)!sonde_listeners_parse_line(text, AF_INET6, &line);
	(void)!sonde_netns_parse(text, "net", &v);
	if (sonde_cgroup2_parse_mount(text, buf, sizeof(buf)) == 0 && strlen(buf) >= sizeof(buf))
		abort();
	if (sonde_identity_parse_cgroup(text, buf, sizeof(buf)) == 0 && strlen(buf) >= sizeof(buf))
		abort();
	if (sonde_bpf_ids_parse_line(text, BOOT, &id) == 0 &&
	    (id.id == 0 || strlen(id.tag) >= sizeof(id.tag)))
		abort();
}

static void read_policy(const char *text, size_t size)
{
	_cleanup_(sonde_policy_freep) struct sonde_policy *policy = NULL;
	_cleanup_free_ struct sonde_identity *who = calloc(1, sizeof(*who));
	_cleanup_free_ char *words = NULL;
	const char *rule = NULL;
	int r;

	if (!who)
		return;
	r = sonde_policy_parse(text, size, "policy.yaml", "/dev/null", &policy, &words);
	if (r == -EINVAL && !words)
		abort(); /* a refusal without words */
	if (r < 0)
		return;
	memcpy(who->exe, "/usr/bin/x", sizeof("/usr/bin/x"));
	(void)!sonde_policy_target(policy, who, &rule);
	if (!rule || sonde_policy_max_tasks(policy) > SONDE_PROBE_TASKS_MAX)
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	_cleanup_free_ char *text = malloc(size + 1);

	if (!text)
		return 0;
	memcpy(text, data, size);
	text[size] = '\0';
	read_lines(text);
	read_policy(text, size);
	return 0;
}
