using System.Data.Common;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage;

namespace EfEnvelope.Reading;

/// <summary>
/// What a row says of the scope of its cells: compared with the scope of the key that sealed them, so that a cell moved from another tenant, subject or row is refused.
/// One per reader and source of rows; remembers the row's answer, and the last value, as neighbouring rows often share it.
/// </summary>
internal sealed class RowCheck(EnvelopeCell cell, string? ambientScope)
{
    /// <summary>A row without a tenant, subject or row id was never written by EfEnvelope: it is nobody's, and no key is of its scope.</summary>
    private const string NoScope = "";

    private readonly IProperty? _scopeProperty = cell.Type?.ScopeProperty;
    private readonly Type? _scopeType = cell.Type?.ScopeProperty is { } property ? StoredType(property) : null;
    private long _row;
    private string? _expected;
    private object? _lastValue;
    private Guid _lastGuid;
    private string? _lastParent;
    private Guid _lastRowId;
    private string? _lastScope;

    /// <summary>The scope that the row's values name; null where the query does not return them.</summary>
    /// <param name="reader">Stands on the row.</param>
    /// <param name="row">The row's number, from 1: asked about again, the row is not read again.</param>
    public string? Expected(DbDataReader reader, long row)
    {
        if (_row != row)
        {
            _expected = Find(reader);
            _row = row;
        }

        return _expected;
    }

    private string? Find(DbDataReader reader)
    {
        if (cell.Type is not { } type)
        {
            return null;
        }

        var parent = Parent(reader, type);
        if (cell.RowIdOrdinal < 0)
        {
            return type.Scope.PerRow ? null : parent;
        }

        if (reader.IsDBNull(cell.RowIdOrdinal))
        {
            return NoScope;
        }

        var rowId = reader.GetFieldValue<Guid>(cell.RowIdOrdinal);
        if (parent is null)
        {
            return null;
        }

        if (_lastScope is null || rowId != _lastRowId || !ReferenceEquals(parent, _lastParent))
        {
            _lastRowId = rowId;
            _lastScope = KeyScope.ForRow(rowId, parent);
        }

        return _lastScope;
    }

    /// <summary>The row id that row-bound cells of the row are bound to.</summary>
    public string RowId(DbDataReader reader)
    {
        var parts = new object[cell.KeyOrdinals.Length];
        for (var i = 0; i < parts.Length; i++)
        {
            parts[i] = Read(reader, cell.KeyOrdinals[i], StoredType(cell.KeyProperties[i]));
        }

        return ScopeValue.RowId(parts);
    }

    private string? Parent(DbDataReader reader, EncryptedTypeInfo type)
    {
        if (type.Scope.IsAmbient)
        {
            return ambientScope;
        }

        if (_scopeProperty is null)
        {
            return KeyScope.Global;
        }

        if (cell.ScopeOrdinal < 0)
        {
            return null;
        }

        if (reader.IsDBNull(cell.ScopeOrdinal))
        {
            return NoScope;
        }

        if (_scopeType == typeof(Guid))
        {
            var guid = reader.GetFieldValue<Guid>(cell.ScopeOrdinal);
            if (_lastParent is null || guid != _lastGuid)
            {
                _lastGuid = guid;
                _lastParent = RowScope.Of(type.Scope, guid);
            }

            return _lastParent;
        }

        var value = Read(reader, cell.ScopeOrdinal, _scopeType!);
        if (_lastParent is null || !value.Equals(_lastValue))
        {
            _lastValue = value;
            _lastParent = RowScope.Of(type.Scope, value);
        }

        return _lastParent;
    }

    private static Type StoredType(IProperty property)
    {
        var type = property.GetTypeMapping().Converter?.ProviderClrType ?? property.ClrType;
        return Nullable.GetUnderlyingType(type) ?? type;
    }

    private static object Read(DbDataReader reader, int ordinal, Type type)
    {
        if (type == typeof(Guid))
        {
            return reader.GetFieldValue<Guid>(ordinal);
        }

        return type == typeof(string) ? reader.GetString(ordinal) : reader.GetInt64(ordinal);
    }
}
