/* The scan of the gear chunker.  The rules are in docs/chunkers.md; _numpy.py is the same function.
 *
 * The limited API of 3.11 is used where it exists (see setup.py): the buffer protocol, without which
 * there is no zero-copy access to the data, entered it in that release.  Python 3.10 and free-threaded
 * builds compile the same source against their full API.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define WINDOW ((size_t)64)
#define SYMBOLS 256

/* A hash depends on the 64 bytes before it and on nothing else, so any stretch of data can be hashed
 * in several lanes at once.  One lane would wait for its own last addition; four keep the core busy. */
#define LANES 4
#define LANE_BYTES ((size_t)2048)

typedef struct {
    uint64_t table[SYMBOLS];
    /* A hash has its n top bits zero when it is below 2^(64-n). */
    uint64_t strict_limit;
    uint64_t loose_limit;
    size_t min_size;
    size_t switch_size;
    size_t max_size;
} Rule;

typedef struct {
    const unsigned char *bytes;
    size_t size;
} Span;

/* The hash of the WINDOW - 1 bytes at `bytes`, ready to take the last byte of its window. */
static uint64_t warm(const Rule *rule, const unsigned char *bytes)
{
    uint64_t hash = 0;
    for (size_t i = 0; i < WINDOW - 1; i++)
        hash = (hash << 1) + rule->table[bytes[i]];
    return hash;
}

/* Whether any of the LANES * LANE_BYTES positions from `begin` on has a hash below `limit`. */
static int lanes_match(const Rule *rule, const unsigned char *data, size_t begin, uint64_t limit)
{
    const uint64_t *table = rule->table;
    const unsigned char *a = data + begin - 1;
    const unsigned char *b = a + LANE_BYTES;
    const unsigned char *c = b + LANE_BYTES;
    const unsigned char *d = c + LANE_BYTES;
    uint64_t hash_a = warm(rule, a - (WINDOW - 1));
    uint64_t hash_b = warm(rule, b - (WINDOW - 1));
    uint64_t hash_c = warm(rule, c - (WINDOW - 1));
    uint64_t hash_d = warm(rule, d - (WINDOW - 1));
    for (size_t i = 0; i < LANE_BYTES; i++) {
        hash_a = (hash_a << 1) + table[a[i]];
        hash_b = (hash_b << 1) + table[b[i]];
        hash_c = (hash_c << 1) + table[c[i]];
        hash_d = (hash_d << 1) + table[d[i]];
        if (hash_a < limit || hash_b < limit || hash_c < limit || hash_d < limit)
            return 1;
    }
    return 0;
}

/* The first position in [begin, end) whose hash is below `limit`, or `end`.  begin >= WINDOW. */
static size_t first_match(const Rule *rule, const unsigned char *data, size_t begin, size_t end,
                          uint64_t limit)
{
    while (end - begin >= LANES * LANE_BYTES && !lanes_match(rule, data, begin, limit))
        begin += LANES * LANE_BYTES;
    if (begin == end)
        return end;
    uint64_t hash = warm(rule, data + begin - WINDOW);
    for (size_t at = begin; at < end; at++) {
        hash = (hash << 1) + rule->table[data[at - 1]];
        if (hash < limit)
            return at;
    }
    return end;
}

/* The size of the chunk that starts the span, or 0 when more bytes have to decide. */
static size_t chunk_size(const Rule *rule, Span span, int final)
{
    size_t stop = span.size < rule->max_size ? span.size : rule->max_size;
    if (stop > rule->min_size) {
        size_t change = stop < rule->switch_size ? stop : rule->switch_size;
        size_t at = first_match(rule, span.bytes, rule->min_size, change, rule->strict_limit);
        if (at == change)
            at = first_match(rule, span.bytes, change, stop, rule->loose_limit);
        if (at < stop)
            return at;
    }
    return (stop == rule->max_size || final) ? stop : 0;
}

/* Writes the ends of the chunks and returns how many there are; `ends` has room for all. */
static size_t find_ends(const Rule *rule, Span span, int final, size_t *ends)
{
    size_t count = 0;
    size_t done = 0;
    while (done < span.size) {
        Span rest = {span.bytes + done, span.size - done};
        size_t size = chunk_size(rule, rest, final);
        if (size == 0)
            break;
        done += size;
        ends[count++] = done;
    }
    return count;
}

static PyObject *as_list(const size_t *ends, size_t count)
{
    PyObject *list = PyList_New((Py_ssize_t)count);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < count; i++) {
        PyObject *end = PyLong_FromSize_t(ends[i]);
        if (end == NULL || PyList_SetItem(list, (Py_ssize_t)i, end) < 0) {
            Py_DECREF(list);
            return NULL;
        }
    }
    return list;
}

static PyObject *ends_of(const Rule *rule, Span span, int final)
{
    /* Every chunk but the last is at least as long as the minimum. */
    size_t *ends = malloc((span.size / rule->min_size + 1) * sizeof *ends);
    if (ends == NULL)
        return PyErr_NoMemory();
    size_t count;
    Py_BEGIN_ALLOW_THREADS
    count = find_ends(rule, span, final, ends);
    Py_END_ALLOW_THREADS
    PyObject *list = as_list(ends, count);
    free(ends);
    return list;
}

/* Fills the rule from checked numbers, or sets an exception and returns -1. */
static int set_rule(Rule *rule, const Py_buffer *table, int strict_bits, int loose_bits,
                    const Py_ssize_t sizes[3])
{
    if (table->len != (Py_ssize_t)sizeof rule->table) {
        PyErr_SetString(PyExc_ValueError, "the gear table must hold 256 numbers of 64 bits");
        return -1;
    }
    if (loose_bits < 1 || strict_bits < loose_bits || strict_bits > 63) {
        PyErr_SetString(PyExc_ValueError, "bits must be 1 <= loose <= strict <= 63");
        return -1;
    }
    if (sizes[0] < (Py_ssize_t)WINDOW || sizes[1] < sizes[0] || sizes[2] < sizes[1]) {
        PyErr_SetString(PyExc_ValueError, "sizes must be 64 <= min <= switch <= max");
        return -1;
    }
    memcpy(rule->table, table->buf, sizeof rule->table);
    rule->strict_limit = (uint64_t)1 << (64 - strict_bits);
    rule->loose_limit = (uint64_t)1 << (64 - loose_bits);
    rule->min_size = (size_t)sizes[0];
    rule->switch_size = (size_t)sizes[1];
    rule->max_size = (size_t)sizes[2];
    return 0;
}

static PyObject *cut(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer data, table;
    int strict_bits, loose_bits, final;
    Py_ssize_t sizes[3];
    /* y* takes C-contiguous buffers only, and holds them until they are released. */
    if (!PyArg_ParseTuple(args, "y*(y*iinnn)p:cut", &data, &table, &strict_bits, &loose_bits,
                          &sizes[0], &sizes[1], &sizes[2], &final))
        return NULL;
    Rule rule;
    PyObject *ends = NULL;
    if (set_rule(&rule, &table, strict_bits, loose_bits, sizes) == 0) {
        Span span = {data.buf, (size_t)data.len};
        ends = ends_of(&rule, span, final);
    }
    PyBuffer_Release(&table);
    PyBuffer_Release(&data);
    return ends;
}

static PyMethodDef methods[] = {
    {"cut", cut, METH_VARARGS,
     "cut(data, rule, final, /)\n--\n\nEnds of the chunks in data; the rule is a rule.Rule."},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {
#ifdef Py_mod_multiple_interpreters
    {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#endif
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_gear",
    .m_doc = "The scan of the gear chunker in C.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__gear(void)
{
    return PyModuleDef_Init(&definition);
}
