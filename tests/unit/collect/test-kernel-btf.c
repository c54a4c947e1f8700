/* SPDX-License-Identifier: Apache-2.0 */
#include "sonde-test.h"

#include <bpf/btf.h>
#include <string.h>

#include "collect/kernel-btf.h"
#include "collect/tcp/state.h"

/* A kernel with two tracepoints and an enum, as the real BTF writes them. */
struct kernel {
	struct btf *btf;
	int number, cookie, sock, sock_ptr;
};

static int trace(struct kernel *k, const char *name, const int *args, size_t n)
{
	int proto = btf__add_func_proto(k->btf, 0), ptr;

	assert_ok(btf__add_func_param(k->btf, "__data", k->cookie));
	for (size_t i = 0; i < n; i++)
		assert_ok(btf__add_func_param(k->btf, "", args[i]));
	ptr = btf__add_ptr(k->btf, proto);
	return btf__add_typedef(k->btf, name, ptr);
}

static int setup(void **state)
{
	static struct kernel k;
	int enumeration, u32, constant;

	k.btf = btf__new_empty();
	assert_non_null(k.btf);
	k.number = btf__add_int(k.btf, "int", 4, BTF_INT_SIGNED);
	k.cookie = btf__add_ptr(k.btf, 0);
	k.sock = btf__add_struct(k.btf, "sock", 8);
	constant = btf__add_const(k.btf, k.sock);
	k.sock_ptr = btf__add_ptr(k.btf, constant);
	u32 = btf__add_typedef(k.btf, "u32", k.number);
	constant = btf__add_const(k.btf, u32);
	assert_true(trace(&k, "btf_trace_two", (int[]){k.sock_ptr, constant}, 2) > 0);
	enumeration = btf__add_enum(k.btf, "skb_drop_reason", 4);
	assert_ok(btf__add_enum_value(k.btf, "SKB_NOT_DROPPED_YET", 0));
	assert_ok(btf__add_enum_value(k.btf, "SKB_DROP_REASON_NO_SOCKET", 3));
	assert_ok(btf__add_enum_value(k.btf, "SKB_DROP_REASON_SUBSYS_MASK", 0xffff0000));
	assert_true(trace(&k, "btf_trace_three", (int[]){k.cookie, enumeration, k.sock_ptr}, 3) >
		    0);
	*state = &k;
	return 0;
}

static int teardown(void **state)
{
	struct kernel *k = *state;

	btf__free(k->btf);
	return 0;
}

static void describes_arguments_without_the_cookie(void **state)
{
	struct sonde_prototype asked[] = {{.name = "three"}, {.name = "missing"}, {.name = "two"}};
	struct kernel *k = *state;

	assert_ok(sonde_kernel_btf_ask(k->btf, asked, 3, NULL, 0, NULL));
	assert_true(asked[0].found);
	assert_int_equal(asked[0].n_args, 3);
	assert_string_equal(asked[0].args[0], "void*");
	assert_string_equal(asked[0].args[1], "4");
	assert_string_equal(asked[0].args[2], "sock*");
	assert_false(asked[1].found);
	assert_true(asked[2].found);
	assert_int_equal(asked[2].n_args, 2);
	assert_string_equal(asked[2].args[0], "sock*");
	assert_string_equal(asked[2].args[1], "4");
}

static void names_drop_reasons_as_this_kernel_does(void **state)
{
	_cleanup_(sonde_enum_names_done) struct sonde_enum_names names = {0};
	struct kernel *k = *state;
	char text[64];

	assert_ok(sonde_kernel_btf_ask(k->btf, NULL, 0, &(const char *){"skb_drop_reason"}, 1,
				       &names));
	tcp_drop_reason_name(&names, 3, text, sizeof(text));
	assert_string_equal(text, "NO_SOCKET");
	tcp_drop_reason_name(&names, 0, text, sizeof(text));
	assert_string_equal(text, "SKB_NOT_DROPPED_YET");
	tcp_drop_reason_name(&names, 77, text, sizeof(text));
	assert_string_equal(text, "REASON_77");
	tcp_drop_reason_name(&names, 0x20005, text, sizeof(text));
	assert_string_equal(text, "SUBSYS_2");
	tcp_drop_reason_name(&(struct sonde_enum_names){0}, 3, text, sizeof(text));
	assert_string_equal(text, "REASON_3");
}

static void an_enum_that_is_not_there_has_no_names(void **state)
{
	_cleanup_(sonde_enum_names_done) struct sonde_enum_names names = {0};
	struct kernel *k = *state;

	assert_ok(sonde_kernel_btf_ask(k->btf, NULL, 0, &(const char *){"other"}, 1, &names));
	assert_null(names.names);
	assert_int_equal(names.n, 0);
}

static void finds_members_and_values_by_path(void **state)
{
	struct kernel *k = *state;
	int inner, outer, anonymous;

	inner = btf__add_struct(k->btf, "rack", 8);
	assert_ok(btf__add_field(k->btf, "mstamp", k->number, 0, 0));
	anonymous = btf__add_union(k->btf, "", 4);
	assert_ok(btf__add_field(k->btf, "hidden", k->number, 0, 0));
	outer = btf__add_struct(k->btf, "tcp_sock", 16);
	assert_ok(btf__add_field(k->btf, "rack", inner, 0, 0));
	assert_ok(btf__add_field(k->btf, "", anonymous, 64, 0));
	assert_true(outer > 0);
	assert_true(sonde_kernel_btf_has(k->btf, "tcp_sock.rack"));
	assert_true(sonde_kernel_btf_has(k->btf, "tcp_sock.rack.mstamp"));
	assert_true(sonde_kernel_btf_has(k->btf, "tcp_sock.hidden"));
	assert_true(sonde_kernel_btf_has(k->btf, "skb_drop_reason.SKB_DROP_REASON_NO_SOCKET"));
	assert_false(sonde_kernel_btf_has(k->btf, "tcp_sock.rac"));
	assert_false(sonde_kernel_btf_has(k->btf, "tcp_sock.rack.other"));
	assert_false(sonde_kernel_btf_has(k->btf, "tcp_sock.hidden.other"));
	assert_false(sonde_kernel_btf_has(k->btf, "skb_drop_reason.OTHER"));
	assert_false(sonde_kernel_btf_has(k->btf, "other.rack"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(finds_members_and_values_by_path),
		cmocka_unit_test(describes_arguments_without_the_cookie),
		cmocka_unit_test(names_drop_reasons_as_this_kernel_does),
		cmocka_unit_test(an_enum_that_is_not_there_has_no_names),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
