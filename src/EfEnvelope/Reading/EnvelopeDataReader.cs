using System.Data.Common;
using EfEnvelope.Diagnostics;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using EfEnvelope.Storage;
using Microsoft.EntityFrameworkCore;
using Npgsql;

namespace EfEnvelope.Reading;

/// <summary>
/// Around the provider's reader of a query with encrypted columns: looks at exactly their ordinals, awaits missing keys, checks each cell against its row, and pins the keys until the
/// command is done. Opens nothing: the converter does, with what the getter leaves in <see cref="OpeningFrame"/>. Used by one thread at a time, like every reader.
/// </summary>
internal sealed partial class EnvelopeDataReader : DbDataReader, ICellSource
{
    private readonly DbDataReader _inner;
    private readonly EnvelopeSession _session;
    private readonly KeyRing _ring;
    private readonly ReadPlan _plan;
    private readonly EnvelopeCell[] _cells;
    private readonly bool _typed;
    private readonly RowCheck[] _checks;
    private readonly Opened[] _opened;
    private readonly int[] _cellOf;
    private readonly object?[] _values;
    private readonly KeyPins _pins = new();
    private readonly HashSet<Guid> _missing = [];
    private readonly List<(Guid KeyId, string Expected, int Index, object? Value)> _deferred = [];
    private readonly List<Guid> _documentKeys = [];
    private readonly HashSet<Guid> _unopenable = [];
    private RingKey? _last;
    private RingKey? _asked;
    private long _askedRow;
    private DocumentFrame? _document;
    private long _row;
    private bool _drained;
    private bool _ended;
    private Guid? _unchecked;
    private bool _released;

    public EnvelopeDataReader(DbDataReader inner, EnvelopeSession session, ReadPlan plan)
    {
        _inner = inner;
        _typed = inner is NpgsqlDataReader;
        _session = session;
        _ring = session.Ring;
        _plan = plan;
        _cells = [.. plan.Locate(inner).Where(c => c.Ordinal >= 0)];
        var ambient = _cells.Any(c => c.IsAmbient) ? session.AmbientScope : null;
        _checks = Checks(_cells, ambient);
        _opened = new Opened[_cells.Length];
        _values = new object?[_cells.Length];
        _cellOf = new int[inner.FieldCount];
        Array.Fill(_cellOf, -1);
        for (var i = 0; i < _cells.Length; i++)
        {
            _cellOf[_cells[i].Ordinal] = i;
        }
    }

    public EnvelopeAudit Audit => _session.Runtime.Audit;

    public RingKey GetKey(Guid keyId, ColumnDeclaration column, int ordinal)
    {
        RingKey? key;
        if (_missing.Count == 0 || !_missing.Contains(keyId))
        {
            if (_last is { } last && last.Id == keyId && KeyRing.IsUsable(last))
            {
                return last;
            }

            if (_pins.TryGet(keyId, out key) && KeyRing.IsUsable(key))
            {
                return _last = key;
            }
        }
        else
        {
            // A bulk reader that was not buffered after all: load what is missing, and check it, before the first value is opened.
            SynchronousBridge.Run(() => LoadAndCheckAsync(CancellationToken.None));
            if (_pins.TryGet(keyId, out key))
            {
                return _last = key;
            }
        }

        throw Why(keyId, column);
    }

    public bool TryRecall(Guid keyId, ColumnDeclaration column, int ordinal, out RingKey key)
    {
        ref var opened = ref _opened[_cellOf[ordinal]];
        key = opened.Key;
        return ReferenceEquals(opened.Column, column) && key.Id == keyId && KeyRing.IsUsable(key) && (_missing.Count == 0 || !_missing.Contains(keyId));
    }

    public void Remember(ColumnDeclaration column, int ordinal, RingKey key) => _opened[_cellOf[ordinal]] = new Opened(column, key);

    public bool IsReleased => Volatile.Read(ref _released);

    public bool HasMet(Guid keyId) => _pins.TryGet(keyId, out _) || _missing.Contains(keyId) || _unopenable.Contains(keyId);

    /// <summary>Lets the keys go; called when EF disposes of the command, because buffered cells are opened after the reader is closed.</summary>
    public void Release()
    {
        if (_released)
        {
            return;
        }

        EndDocument();
        Volatile.Write(ref _released, true);
        _pins.Dispose();
        Array.Clear(_opened);
        OpeningFrame.Clear();
    }

    public override bool Read()
    {
        if (!_inner.Read())
        {
            return false;
        }

        if (Inspect())
        {
            SynchronousBridge.Run(() => LoadAndCheckAsync(CancellationToken.None));
        }

        return true;
    }

    public override Task<bool> ReadAsync(CancellationToken cancellationToken)
    {
        var reading = _inner.ReadAsync(cancellationToken);
        if (!reading.IsCompletedSuccessfully)
        {
            return ReadSlowAsync(reading, cancellationToken);
        }

        return reading.Result && Inspect() ? LoadRowAsync(cancellationToken) : reading;
    }

    public override bool NextResult()
    {
        if (_drained || _inner.NextResult())
        {
            return !_drained;
        }

        if (_missing.Count > 0)
        {
            Drain(_inner.RecordsAffected);
            _inner.Close();
            SynchronousBridge.Run(() => LoadAndCheckAsync(CancellationToken.None));
        }

        End();
        return false;
    }

    public override async Task<bool> NextResultAsync(CancellationToken cancellationToken)
    {
        if (_drained || await _inner.NextResultAsync(cancellationToken).ConfigureAwait(false))
        {
            return !_drained;
        }

        if (_missing.Count > 0)
        {
            Drain(_inner.RecordsAffected);
            await _inner.CloseAsync().ConfigureAwait(false);
            await LoadAndCheckAsync(cancellationToken).ConfigureAwait(false);
        }

        End();
        return false;
    }

    /// <summary>
    /// Only EF's buffering comes here. The armour of a buffered document reaches the converter as text of its own, of which nothing is known: one whose key did not open was compared with nothing, and may open by then.
    /// </summary>
    private void End()
    {
        if (_unchecked is { } keyId)
        {
            throw Why(keyId);
        }

        _ended = true;
    }

    private async Task<bool> ReadSlowAsync(Task<bool> reading, CancellationToken cancellationToken)
        => await reading.ConfigureAwait(false) && (!Inspect() || await LoadRowAsync(cancellationToken).ConfigureAwait(false));

    private async Task<bool> LoadRowAsync(CancellationToken cancellationToken)
    {
        await LoadAndCheckAsync(cancellationToken).ConfigureAwait(false);
        return true;
    }

    /// <summary>Takes up the row's cells; true when keys must be awaited before the row is handed out.</summary>
    private bool Inspect()
    {
        EndDocument();
        _row++;
        for (var i = 0; i < _cells.Length; i++)
        {
            var cell = _cells[i];
            if (_inner.IsDBNull(cell.Ordinal))
            {
                _values[i] = null;
                continue;
            }

            switch (cell.Kind)
            {
                case CellKind.Binary:
                    var bytes = ReadBytes(cell.Ordinal);
                    _values[i] = bytes;
                    if (EnvelopeCodec.TryReadKeyId(bytes, out var keyId))
                    {
                        Need(keyId, i);
                    }

                    RememberRow(cell, i, bytes);
                    break;
                case CellKind.Armor:
                    var armor = ReadText(cell.Ordinal);
                    _values[i] = armor;
                    if (TextArmor.TryReadKeyId(armor, out keyId))
                    {
                        Need(keyId, i);
                    }

                    RememberRow(cell, i, armor);
                    break;
                default:
                    _values[i] = null;
                    InspectDocument(_inner.GetValue(cell.Ordinal), i);
                    break;
            }
        }

        return _missing.Count > 0 && !_plan.IsBulk;
    }

    /// <summary>
    /// SQLite lets a column hold any storage class, and converts between text and blobs. A census counts by the class that the column is declared with: what is of another one is no cell, whatever its bytes are.
    /// </summary>
    private byte[] ReadBytes(int ordinal) => _typed ? _inner.GetFieldValue<byte[]>(ordinal) : _inner.GetValue(ordinal) as byte[] ?? [];

    private string ReadText(int ordinal) => _typed ? _inner.GetString(ordinal) : _inner.GetValue(ordinal) as string ?? "";

    /// <summary>SQLite lets the column hold any storage class; only text is a document.</summary>
    private void InspectDocument(object document, int index)
    {
        _documentKeys.Clear();
        if (document is not string text || !DocumentInspector.TryInspect(text, _cells[index].IsList, _cells[index].Members, _documentKeys))
        {
            throw Broken(_cells[index]);
        }

        foreach (var keyId in _documentKeys)
        {
            Need(keyId, index);
        }
    }

    private void Need(Guid keyId, int index)
    {
        var expected = _checks[index].Expected(_inner, _row);
        if (expected is RowCheck.NoScope)
        {
            throw Moved(keyId, _cells[index]);
        }

        RingKey? key;
        if (_last is { } last && last.Id == keyId && MayUse(last))
        {
            key = last;
        }
        else if (!_pins.TryGet(keyId, out key) || !MayUse(key))
        {
            if (key is { IsAlive: false })
            {
                _pins.Release(key);
                ForgetReleased();
            }

            if (!_ring.TryGetForOpening(keyId, _pins, out key) && !(_session.TransientKeys.TryGetForOpening(keyId, out key) && _pins.TryPin(key, out key)))
            {
                _missing.Add(keyId);
                if (expected is not null)
                {
                    _deferred.Add((keyId, expected, index, _values[index]));
                }

                return;
            }
        }

        _last = key;
        if (expected is not null && !KeyScope.Matches(key.Scope, expected))
        {
            throw Moved(keyId, _cells[index]);
        }
    }

    /// <summary>
    /// Whether a pinned key may open the row's cells: a reader may stand open for hours while its key is erased, or refused by the key service. Asked once a row. In a transaction whose rows of the ring are what they were when it began, there
    /// is nothing to be asked.
    /// </summary>
    private bool MayUse(RingKey key)
    {
        if (_askedRow == _row && ReferenceEquals(_asked, key))
        {
            return true;
        }

        if (!_ring.MayOpenOn(key) && !(key.IsAlive && KeyRing.IsUsable(key) && _session.OpenStore().IsTransient))
        {
            return false;
        }

        (_asked, _askedRow) = (key, _row);
        return true;
    }

    /// <summary>What was let go is asked for again before it is used.</summary>
    private void ForgetReleased()
    {
        (_last, _asked) = (null, null);
        Array.Clear(_opened);
    }

    private void RememberRow(EnvelopeCell cell, int index, object value)
    {
        if (cell.Column is { RowBound: true })
        {
            BufferedCells.RememberRowId(value, _checks[index].RowId(_inner));
        }
    }

    private async Task LoadAndCheckAsync(CancellationToken cancellationToken)
    {
        await LoadAsync(cancellationToken).ConfigureAwait(false);
        foreach (var (keyId, expected, index, value) in _deferred)
        {
            if (_pins.TryGet(keyId, out var key))
            {
                if (!KeyScope.Matches(key.Scope, expected))
                {
                    throw Moved(keyId, _cells[index]);
                }
            }
            else if (value is not null)
            {
                // EF may have buffered it, and open it when somebody else has loaded the key.
                BufferedCells.RememberScope(value, expected);
            }
            else
            {
                _unchecked = keyId;
            }
        }

        _deferred.Clear();
    }

    private async Task LoadAsync(CancellationToken cancellationToken)
    {
        await _ring.LoadForOpeningAsync(_missing, _session.OpenStore(), _session.TransientKeys, _pins, cancellationToken).ConfigureAwait(false);
        foreach (var keyId in _missing)
        {
            if (!_pins.TryGet(keyId, out _))
            {
                _unopenable.Add(keyId);
            }
        }

        _missing.Clear();
        ForgetReleased();
        RefuseForeign();
    }

    /// <summary>Cells of one row ask it once: they share their check.</summary>
    private static RowCheck[] Checks(EnvelopeCell[] cells, string? ambient)
    {
        var checks = new RowCheck[cells.Length];
        for (var i = 0; i < cells.Length; i++)
        {
            for (var j = 0; j < i && checks[i] is null; j++)
            {
                if (cells[j].IsOfSameRow(cells[i]))
                {
                    checks[i] = checks[j];
                }
            }

            checks[i] ??= new RowCheck(cells[i], ambient);
        }

        return checks;
    }

    private readonly record struct Opened(ColumnDeclaration? Column, RingKey Key);

    private void Drain(int recordsAffected)
    {
        _drained = true;
        _recordsAffected = recordsAffected;
    }
}
