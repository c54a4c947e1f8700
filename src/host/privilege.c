/* SPDX-License-Identifier: Apache-2.0 */
#include "host/privilege.h"

#include <errno.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

struct sets {
	uint64_t effective;
	uint64_t permitted;
	uint64_t inheritable;
};

static int get_sets(struct sets *ret)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	memset(data, 0, sizeof(data));
	if (syscall(SYS_capget, &head, data) < 0)
		return -errno;
	*ret = (struct sets){
		.effective = data[0].effective | (uint64_t)data[1].effective << 32,
		.permitted = data[0].permitted | (uint64_t)data[1].permitted << 32,
		.inheritable = data[0].inheritable | (uint64_t)data[1].inheritable << 32,
	};
	return 0;
}

static int set_sets(const struct sets *s)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {
		{(uint32_t)s->effective, (uint32_t)s->permitted, (uint32_t)s->inheritable},
		{(uint32_t)(s->effective >> 32), (uint32_t)(s->permitted >> 32),
		 (uint32_t)(s->inheritable >> 32)},
	};

	if (syscall(SYS_capset, &head, data) < 0)
		return -errno;
	return 0;
}

/* Up to the first number that this kernel has no capability for. */
static int empty_bounding(void)
{
	for (unsigned long cap = 0; cap < 64; cap++) {
		int r = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);

		if (r < 0)
			break;
		if (r == 0)
			continue;
		if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0 && errno != EPERM)
			return -errno;
	}
	return 0;
}

int sonde_privilege_keep(uint64_t permitted)
{
	struct sets s = {0};
	int r;

	r = empty_bounding(); /* first: it needs CAP_SETPCAP */
	if (r < 0)
		return r;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0)
		return -errno;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	r = get_sets(&s);
	if (r < 0)
		return r;
	s = (struct sets){.permitted = s.permitted & permitted};
	return set_sets(&s);
}

int sonde_privilege_drop_all(void)
{
	return sonde_privilege_keep(0);
}

int sonde_privilege_permitted(uint64_t *ret)
{
	struct sets s = {0};
	int r;

	r = get_sets(&s);
	if (r < 0)
		return r;
	*ret = s.permitted;
	return 0;
}

int sonde_privilege_effective(uint64_t *ret)
{
	struct sets s = {0};
	int r;

	r = get_sets(&s);
	if (r < 0)
		return r;
	*ret = s.effective;
	return 0;
}

int sonde_privilege_raise(uint64_t caps)
{
	struct sets s = {0};
	int r;

	r = get_sets(&s);
	if (r < 0)
		return r;
	s.effective = s.permitted & caps;
	r = set_sets(&s);
	if (r < 0)
		return r;
	return s.effective == caps ? 0 : -EPERM;
}

void sonde_privilege_lower(void)
{
	if (sonde_privilege_raise(0) < 0)
		abort(); /* to go on with a capability in effect would be worse */
}

int sonde_privilege_pass_on(uint64_t caps)
{
	struct sets s = {0};
	int r;

	r = get_sets(&s);
	if (r < 0)
		return r;
	caps &= s.permitted;
	s.inheritable |= caps;
	r = set_sets(&s);
	if (r < 0)
		return r;
	for (unsigned long cap = 0; cap < 64; cap++) {
		if ((caps & SONDE_CAP(cap)) == 0)
			continue;
		if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -errno;
	}
	return 0;
}
