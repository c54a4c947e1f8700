/* SPDX-License-Identifier: Apache-2.0 */
#include "backend-fixture.h"

#include <errno.h>
#include <string.h>

#include "backend/ingest/entity.h"
#include "backend/json.h"
#include "backend/query/edge.h"

static void takes_keys_apart(void **state)
{
	struct sonde_labels l;

	sonde_labels_parse("{kind=fast,server_port=80}", &l);
	assert_int_equal(l.n, 2);
	assert_string_equal(sonde_labels_get(&l, "kind"), "fast");
	assert_string_equal(sonde_labels_get(&l, "server_port"), "80");
	assert_string_equal(sonde_labels_get(&l, "nope"), "");
	sonde_labels_parse("{}", &l);
	assert_int_equal(l.n, 0);
	sonde_labels_parse("", &l);
	assert_int_equal(l.n, 0);
	sonde_labels_parse("{a,b=,=c,d=e=f", &l);
	assert_string_equal(sonde_labels_get(&l, "d"), "e=f");
	assert_string_equal(sonde_labels_get(&l, "b"), ",=c"); /* no name is empty */
	assert_int_equal(l.n, 2);
}

static void a_value_keeps_its_commas_and_equal_signs(void **state)
{
	struct sonde_labels l;

	sonde_labels_parse("{reason=a, b,c,kind=x=1,,site=f(int, char),last=}", &l);
	assert_int_equal(l.n, 4);
	assert_string_equal(sonde_labels_get(&l, "reason"), "a, b,c");
	assert_string_equal(sonde_labels_get(&l, "kind"), "x=1,");
	assert_string_equal(sonde_labels_get(&l, "site"), "f(int, char)");
	assert_string_equal(sonde_labels_get(&l, "last"), "");
	sonde_labels_parse("{", &l);
	assert_int_equal(l.n, 0);
	sonde_labels_parse("{=}", &l);
	assert_int_equal(l.n, 0);
}

static void bounds_the_labels_of_a_key(void **state)
{
	char key[4096] = "{";
	struct sonde_labels l;

	for (unsigned i = 0; i < 200; i++)
		(void)snprintf(key + strlen(key), sizeof(key) - strlen(key), "l%u=%u,", i, i);
	sonde_labels_parse(key, &l);
	assert_int_equal(l.n, SONDE_LABELS_MAX);
}

static void makes_an_entity_key_and_takes_it_apart(void **state)
{
	const struct sonde_mal_entity e = {.scope = SONDE_MAL_SCOPE_PROCESS_RELATION,
					   .source_process = "a\tb",
					   .dest_process = "c",
					   .side = SONDE_MAL_SERVER};
	struct sonde_entity_parts p;
	char key[SONDE_ENTITY_KEY_MAX];

	assert_ok(sonde_entity_key(&e, key));
	sonde_entity_split(key, &p);
	assert_true(sonde_entity_is_process_relation(&p));
	assert_string_equal(p.part[1], "a b"); /* a separator in a name cannot forge a part */
	assert_string_equal(p.part[2], "c");
	assert_string_equal(p.part[3], "server");
}

static void refuses_an_entity_that_is_too_long(void **state)
{
	char name[SONDE_ENTITY_KEY_MAX + 1], key[SONDE_ENTITY_KEY_MAX];
	const struct sonde_mal_entity e = {.scope = SONDE_MAL_SCOPE_SERVICE, .service = name};

	memset(name, 's', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	assert_err(sonde_entity_key(&e, key), E2BIG);
}

static void an_address_is_one_node_whoever_saw_it(void **state)
{
	_cleanup_(sonde_registry_freep) struct sonde_registry *r = NULL;
	char a[SONDE_NODE_ID_MAX], b[SONDE_NODE_ID_MAX], ab[SONDE_EDGE_ID_MAX],
		ba[SONDE_EDGE_ID_MAX];
	_cleanup_json_ json_t *address = NULL, *process = NULL, *unknown = NULL;
	struct fixture *f = *state;

	fixture_open(f);
	assert_ok(sonde_registry_new(f->store, &r));
	sonde_registry_note_entity(r, "id1", SONDE_ENTITY_ADDRESS, "s1", "i", "10.0.0.9", 1);
	sonde_registry_note_entity(r, "id2", SONDE_ENTITY_ADDRESS, "s2", "i", "10.0.0.9", 1);
	sonde_registry_note_entity(r, "id3", SONDE_ENTITY_PROCESS, "s2", "i", "nginx", 1);
	sonde_node_id(r, "id1", a);
	sonde_node_id(r, "id2", b);
	assert_string_equal(a, b);
	address = sonde_node_json(r, "id1", false);
	assert_string_equal(sonde_json_get_text(address, "address", ""), "10.0.0.9");
	process = sonde_node_json(r, "id3", true);
	assert_string_equal(sonde_json_get_text(process, "kind", ""), "process");
	assert_string_equal(sonde_json_get_text(process, "service", ""), "s2");
	unknown = sonde_node_json(r, "id4", false);
	assert_string_equal(sonde_json_get_text(unknown, "kind", ""), "other");
	assert_ok(sonde_edge_id("x", "y", "80", "", ab));
	assert_ok(sonde_edge_id("y", "x", "80", "", ba));
	assert_string_not_equal(ab, ba);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(takes_keys_apart),
		cmocka_unit_test(a_value_keeps_its_commas_and_equal_signs),
		cmocka_unit_test(bounds_the_labels_of_a_key),
		cmocka_unit_test(makes_an_entity_key_and_takes_it_apart),
		cmocka_unit_test(refuses_an_entity_that_is_too_long),
		cmocka_unit_test_setup_teardown(an_address_is_one_node_whoever_saw_it,
						fixture_setup, fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
