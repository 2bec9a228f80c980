/* The scans of the chunkers `gear` and `toeplitz-aes` as a Python module.
 *
 * The limited API of 3.11 is used where it exists (see setup.py): the buffer protocol, without which
 * there is no zero-copy access to the data, entered it in that release.  Python 3.10 and free-threaded
 * builds compile the same source against their full API.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stdlib.h>
#include <string.h>

#include "_gear.h"
#include "_toeplitz.h"

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

static PyObject *ends_of(const Rule *rule, const Py_buffer *data, int final)
{
    Span span = {data->buf, (size_t)data->len};
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

/* What a rule says, as it came from Python. */
typedef struct {
    int strict_bits;
    int loose_bits;
    Py_ssize_t min_size;
    Py_ssize_t switch_size;
    Py_ssize_t max_size;
} Numbers;

static int refuse(const char *why)
{
    PyErr_SetString(PyExc_ValueError, why);
    return -1;
}

/* Fills the rule, for hashes of `width` bits, from checked numbers, or sets an exception and returns -1. */
static int set_rule(Rule *rule, int width, const Numbers *numbers)
{
    if (numbers->loose_bits < 1 || numbers->strict_bits < numbers->loose_bits
        || numbers->strict_bits > width - 1)
        return refuse("bits must be 1 <= loose <= strict, and strict less than the hash has");
    if (numbers->min_size < (Py_ssize_t)WINDOW || numbers->switch_size < numbers->min_size
        || numbers->max_size < numbers->switch_size)
        return refuse("sizes must be 64 <= min <= switch <= max");
    rule->strict_limit = (uint64_t)1 << (width - numbers->strict_bits);
    rule->loose_limit = (uint64_t)1 << (width - numbers->loose_bits);
    rule->min_size = (size_t)numbers->min_size;
    rule->switch_size = (size_t)numbers->switch_size;
    rule->max_size = (size_t)numbers->max_size;
    return 0;
}

static PyObject *gear_ends(const Py_buffer *data, const Py_buffer *table, const Numbers *numbers, int final)
{
    uint64_t own_table[SYMBOLS];
    Rule rule = {.first_match = gear_first_match, .hash = own_table};
    if (table->len != (Py_ssize_t)sizeof own_table) {
        refuse("the gear table must hold 256 numbers of 64 bits");
        return NULL;
    }
    if (set_rule(&rule, 64, numbers) < 0)
        return NULL;
    memcpy(own_table, table->buf, sizeof own_table);
    return ends_of(&rule, data, final);
}

static PyObject *cut_gear(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer data, table;
    Numbers numbers;
    int final;
    /* y* takes C-contiguous buffers only, and holds them until they are released. */
    if (!PyArg_ParseTuple(args, "y*(y*iinnn)p:cut_gear", &data, &table, &numbers.strict_bits,
                          &numbers.loose_bits, &numbers.min_size, &numbers.switch_size,
                          &numbers.max_size, &final))
        return NULL;
    PyObject *ends = gear_ends(&data, &table, &numbers, final);
    PyBuffer_Release(&table);
    PyBuffer_Release(&data);
    return ends;
}

/* The path of this name, or NULL with an exception set when the processor does not have it. */
static const Path *path_called(const char *name)
{
    for (const Path *const *path = toeplitz_paths; *path != NULL; path++)
        if (strcmp((*path)->name, name) == 0 && (*path)->available())
            return *path;
    PyErr_Format(PyExc_ValueError, "there is no path called '%s' on this processor", name);
    return NULL;
}

static PyObject *toeplitz_ends(const Py_buffer *data, const Py_buffer secrets[2], const Numbers *numbers,
                               int final, const Path *path)
{
    Block table[SYMBOLS];
    Toeplitz hash;
    ToeplitzScan scan = {&hash, path};
    Rule rule = {.first_match = toeplitz_first_match, .hash = &scan};
    if (secrets[0].len != (Py_ssize_t)sizeof table) {
        refuse("the toeplitz table must hold 256 pairs of numbers of 64 bits");
        return NULL;
    }
    if (secrets[1].len != AES_BLOCK) {
        refuse("the AES key must have 16 bytes");
        return NULL;
    }
    if (set_rule(&rule, 32, numbers) < 0)
        return NULL;
    memcpy(table, secrets[0].buf, sizeof table);
    toeplitz_prepare(&hash, table, secrets[1].buf);
    return ends_of(&rule, data, final);
}

static PyObject *cut_toeplitz(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer data, secrets[2];
    Numbers numbers;
    int final;
    const char *name;
    if (!PyArg_ParseTuple(args, "y*(y*y*iinnn)ps:cut_toeplitz", &data, &secrets[0], &secrets[1],
                          &numbers.strict_bits, &numbers.loose_bits, &numbers.min_size,
                          &numbers.switch_size, &numbers.max_size, &final, &name))
        return NULL;
    const Path *path = path_called(name);
    PyObject *ends = path == NULL ? NULL : toeplitz_ends(&data, secrets, &numbers, final, path);
    PyBuffer_Release(&secrets[1]);
    PyBuffer_Release(&secrets[0]);
    PyBuffer_Release(&data);
    return ends;
}

static PyObject *encrypted(const unsigned char *key, const Py_buffer *plain, const Path *path)
{
    AesKeys keys = aes_expand(key);
    size_t count = (size_t)plain->len / AES_BLOCK;
    Block *blocks = malloc((count + 1) * sizeof *blocks);
    if (blocks == NULL)
        return PyErr_NoMemory();
    for (size_t i = 0; i < count; i++) {
        blocks[i] = block_from_bytes((const unsigned char *)plain->buf + i * AES_BLOCK);
        blocks[i].half[0] ^= keys.key[0].half[0];
        blocks[i].half[1] ^= keys.key[0].half[1];
    }
    path->encrypt(&keys, blocks, count);
    PyObject *result = PyBytes_FromStringAndSize(NULL, plain->len);
    for (size_t i = 0; result != NULL && i < count; i++)
        block_to_bytes(blocks[i], (unsigned char *)PyBytes_AsString(result) + i * AES_BLOCK);
    free(blocks);
    return result;
}

static PyObject *encrypt(PyObject *module, PyObject *args)
{
    (void)module;
    Py_buffer key, plain;
    const char *name;
    if (!PyArg_ParseTuple(args, "y*y*s:encrypt", &key, &plain, &name))
        return NULL;
    PyObject *result = NULL;
    const Path *path = path_called(name);
    if (path != NULL) {
        if (key.len != AES_BLOCK || plain.len % AES_BLOCK != 0)
            refuse("the key must have 16 bytes and the blocks a multiple of 16");
        else
            result = encrypted(key.buf, &plain, path);
    }
    PyBuffer_Release(&plain);
    PyBuffer_Release(&key);
    return result;
}

static PyObject *paths(PyObject *module, PyObject *args)
{
    (void)module, (void)args;
    PyObject *list = PyList_New(0);
    for (const Path *const *path = toeplitz_paths; list != NULL && *path != NULL; path++) {
        if (!(*path)->available())
            continue;
        PyObject *name = PyUnicode_FromString((*path)->name);
        if (name == NULL || PyList_Append(list, name) < 0)
            Py_CLEAR(list);
        Py_XDECREF(name);
    }
    return list;
}

static PyMethodDef methods[] = {
    {"cut_gear", cut_gear, METH_VARARGS,
     "cut_gear(data, rule, final, /)\n--\n\nEnds of the chunks in data; the rule is a gear.rule.Rule."},
    {"cut_toeplitz", cut_toeplitz, METH_VARARGS,
     "cut_toeplitz(data, rule, final, path, /)\n--\n\n"
     "Ends of the chunks in data; the rule is a toeplitz.rule.Rule, and path one of paths()."},
    {"encrypt", encrypt, METH_VARARGS,
     "encrypt(key, blocks, path, /)\n--\n\n"
     "AES-128 of each block, so that tests can hold it against FIPS 197."},
    {"paths", paths, METH_NOARGS,
     "paths()\n--\n\nNames of the paths for cut_toeplitz that this processor has, the fastest first."},
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
    .m_name = "_scan",
    .m_doc = "The scans of the chunkers gear and toeplitz-aes in C.",
    .m_size = 0,
    .m_methods = methods,
    .m_slots = slots,
};

PyMODINIT_FUNC PyInit__scan(void)
{
    return PyModuleDef_Init(&definition);
}
