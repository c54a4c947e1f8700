/* SPDX-License-Identifier: Apache-2.0 */
#include "probe/bpf-try.h"

#include <assert.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "host/privilege.h"

#define LOCKDOWN_FILE "/sys/kernel/security/lockdown"

static int try_map(void)
{
	_cleanup_close_ int fd = -1;

	(void)sonde_privilege_raise(SONDE_CAP(CAP_BPF));
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "sonde_try", sizeof(uint32_t), 1, 1, NULL);
	sonde_privilege_lower();
	return fd < 0 ? fd : 0;
}

/* A raw tracepoint program needs what the collectors' programs need. It is attached to nothing. */
static int try_program(void)
{
	static const struct bpf_insn insns[] = {
		{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0},
		{.code = BPF_JMP | BPF_EXIT},
	};
	_cleanup_close_ int fd = -1;

	(void)sonde_privilege_raise(SONDE_CAP(CAP_BPF) | SONDE_CAP(CAP_PERFMON));
	fd = bpf_prog_load(BPF_PROG_TYPE_RAW_TRACEPOINT, "sonde_try", "Dual BSD/GPL", insns,
			   ELEMENTS_OF(insns), NULL);
	sonde_privilege_lower();
	return fd < 0 ? fd : 0;
}

/* "none [integrity] confidentiality": the one in brackets is in force. */
static bool locked_down(void)
{
	_cleanup_close_ int fd = -1;
	char text[128];
	ssize_t n;

	fd = open(LOCKDOWN_FILE, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return false;
	text[n] = '\0';
	return strstr(text, "[confidentiality]") != NULL;
}

static const char *missing_capability(void)
{
	uint64_t permitted = 0;

	if (sonde_privilege_permitted(&permitted) < 0)
		return NULL;
	if ((permitted & SONDE_CAP(CAP_BPF)) == 0)
		return "CAP_BPF";
	if ((permitted & SONDE_CAP(CAP_PERFMON)) == 0)
		return "CAP_PERFMON";
	return NULL;
}

static const char *reason(int error)
{
	const char *cap = missing_capability();

	if (error == -ENOSYS)
		return "the kernel has no bpf(2)";
	if (cap)
		return cap;
	if (locked_down())
		return "kernel lockdown: confidentiality";
	return "bpf(2) is refused by a security module or a container's seccomp profile";
}

int sonde_bpf_try(const char *btf_own, const char *btf_external, char *words, size_t size)
{
	int r;

	assert(btf_own && words && size > 0);

	r = try_map();
	if (r == 0)
		r = try_program();
	if (r < 0) {
		(void)snprintf(words, size, "%s", reason(r));
		return r;
	}
	if (locked_down()) { /* loads, but may not read the kernel's memory */
		(void)snprintf(words, size, "%s", reason(-EPERM));
		return -EPERM;
	}
	if (!btf_external && access(btf_own, R_OK) < 0) {
		(void)snprintf(
			words, size,
			"the kernel's BTF (CONFIG_DEBUG_INFO_BTF): boot a kernel that has it, or "
			"name a file of it in the policy as btf.external");
		return -EOPNOTSUPP;
	}
	return 0;
}
