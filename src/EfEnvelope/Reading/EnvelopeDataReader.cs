using System.Data.Common;
using EfEnvelope.Diagnostics;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
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
    private long _askedAt;
    private long _askedGeneration;
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

    public bool IsReleased => Volatile.Read(ref _released);

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
        if (document is not string text || !DocumentInspector.TryInspect(text, _cells[index], _documentKeys))
        {
            throw Broken(_cells[index]);
        }

        foreach (var keyId in _documentKeys)
        {
            Need(keyId, index);
        }
    }

    private void RememberRow(EnvelopeCell cell, int index, object value)
    {
        if (cell.Column is { RowBound: true })
        {
            BufferedCells.RememberRowId(value, _checks[index].RowId(_inner));
        }
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

    private void Drain(int recordsAffected)
    {
        _drained = true;
        _recordsAffected = recordsAffected;
    }
}
