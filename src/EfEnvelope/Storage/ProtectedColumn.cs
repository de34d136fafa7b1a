using System.Linq.Expressions;
using EfEnvelope.Envelopes;
using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using EfEnvelope.Scoping;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Metadata;
using Microsoft.EntityFrameworkCore.Storage.ValueConversion;

namespace EfEnvelope.Storage;

/// <summary>The encrypted column that an expression such as <c>c => c.Home.Street</c> names, and what binds its values: found by the whole path, never by its last name alone.</summary>
internal sealed class ProtectedColumn
{
    private readonly IProperty _property;

    private ProtectedColumn(IProperty property, ColumnDeclaration declaration)
    {
        _property = property;
        Declaration = declaration;
    }

    public ColumnDeclaration Declaration { get; }

    /// <exception cref="EnvelopeConfigurationException">The expression names no encrypted property of the model.</exception>
    public static ProtectedColumn Find(IModel model, LambdaExpression expression)
    {
        var path = new Stack<string>();
        var body = Unwrap(expression.Body);
        for (; body is MemberExpression { Expression: { } inner } member; body = Unwrap(inner))
        {
            path.Push(member.Member.Name);
        }

        if (body != expression.Parameters[0] || path.Count == 0)
        {
            throw Error($"'{expression}' is no path of properties. Write it as c => c.Name, or c => c.Home.Street.");
        }

        ITypeBase? type = model.FindEntityType(expression.Parameters[0].Type);
        while (type is not null && path.Count > 1)
        {
            type = Step(type, path.Pop());
        }

        return type?.FindProperty(path.Peek()) is { } property && property.FindEnvelope() is { } declaration
            ? new ProtectedColumn(property, declaration)
            : throw Error($"'{expression}' is no encrypted property of the model: each step but the last must be a complex property or an owned reference, and the last one an encrypted property.");
    }

    /// <summary>The scope whose key seals: the caller's, or the row's own under it.</summary>
    /// <exception cref="EnvelopeConfigurationException">The scope is of another kind, or the row is not said.</exception>
    public string SealingScope(EnvelopeScope scope, EnvelopeRow? row)
    {
        var sealing = Declaration.PerRow ? KeyScope.ForRow(RowId(row), scope.Value) : scope.Value;
        return Declaration.AcceptsScope(sealing)
            ? sealing
            : throw Error($"Column '{Declaration.ColumnId}' does not take keys of scope kind '{scope.Value.Split(':')[0]}'. Nothing was sealed.");
    }

    /// <summary>Whether a value under a key of this scope may be the one that is expected.</summary>
    public bool Accepts(string keyScope, EnvelopeScope? expected, EnvelopeRow? row)
        => Declaration.AcceptsScope(keyScope)
            && (!Declaration.PerRow || keyScope == KeyScope.ForRow(RowId(row), KeyScope.ParentOf(keyScope)))
            && (expected is not { } scope || scope.Value == KeyScope.ParentOf(keyScope));

    /// <summary>Seals a value of the property's type, which goes through the property's own conversion as EF's values do, or one that this conversion yields.</summary>
    public byte[] Seal<TValue>(RingKey key, EnvelopeRow? row, TValue value)
    {
        if (ConverterOf(typeof(TValue)) is not { } converter)
        {
            return EnvelopeCodec.Seal(key.Key, Bind(key, row), value, Declaration.Padding);
        }

        using (new SealingFrame(key, RowIdOf(row)).Enter())
        {
            var cell = converter.ConvertToProvider(value)!;
            return cell as byte[] ?? TextArmor.Decode((string)cell);
        }
    }

    /// <summary>Opens what <see cref="Seal"/> sealed. The key is pinned, and its scope and row are checked.</summary>
    public TValue Open<TValue>(RingKey key, EnvelopeRow? row, byte[] envelope)
    {
        if (ConverterOf(typeof(TValue)) is not { } converter)
        {
            return EnvelopeCodec.Open<TValue>(key.Key, Bind(key, row), envelope);
        }

        object cell = Declaration.Armored ? TextArmor.Encode(envelope) : envelope;
        if (RowIdOf(row) is { } rowId)
        {
            BufferedCells.RememberRowId(cell, rowId);
        }

        return (TValue)converter.ConvertFromProvider(cell)!;
    }

    private EnvelopeBinding Bind(RingKey key, EnvelopeRow? row) => key.Bind(Declaration.Column, RowIdOf(row));

    /// <summary>The property's converter where it takes values of that type.</summary>
    private ValueConverter? ConverterOf(Type type)
        => _property.GetTypeMapping().Converter is { } converter && (Nullable.GetUnderlyingType(converter.ModelClrType) ?? converter.ModelClrType) == (Nullable.GetUnderlyingType(type) ?? type) ? converter : null;

    private string? RowIdOf(EnvelopeRow? row)
    {
        if (!Declaration.RowBound)
        {
            return null;
        }

        var properties = ((IEntityType)_property.DeclaringType.ContainingEntityType).FindPrimaryKey()!.Properties;
        return row is { PrimaryKey: { } values } && values.Count == properties.Count
            ? ScopeValue.RowId([.. properties.Select((p, i) => RowScope.ProviderValue(p, values[i]))])
            : throw Error($"Column '{Declaration.ColumnId}' is bound to its row's primary key ({string.Join(", ", properties.Select(p => p.Name))}): pass its {properties.Count} value(s) as EnvelopeRow.PrimaryKey.");
    }

    private Guid RowId(EnvelopeRow? row)
        => row?.RowId is { } rowId && rowId != Guid.Empty ? rowId : throw Error($"Column '{Declaration.ColumnId}' has a key for each row: pass the row's EnvelopeRowId as EnvelopeRow.RowId.");

    private static ITypeBase? Step(ITypeBase type, string name)
        => type.FindComplexProperty(name) is { IsCollection: false } complex ? complex.ComplexType
            : (type as IEntityType)?.FindNavigation(name) is { IsCollection: false, IsOnDependent: false, ForeignKey.IsOwnership: true } owned ? owned.TargetEntityType
            : null;

    private static Expression Unwrap(Expression expression)
        => expression is UnaryExpression { NodeType: ExpressionType.Convert or ExpressionType.ConvertChecked or ExpressionType.TypeAs } conversion ? Unwrap(conversion.Operand) : expression;

    private static EnvelopeConfigurationException Error(string message) => new(message);
}
