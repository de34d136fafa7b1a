using EfEnvelope.Keys;
using EfEnvelope.Metadata;
using Microsoft.EntityFrameworkCore.Metadata;

namespace EfEnvelope.Scoping;

/// <summary>Turns a row's values into the scope of its data key (FORMAT.md, Keys). Pure, but for the ambient tenant.</summary>
internal static class RowScope
{
    /// <summary>The parent scope: global, the row's tenant or subject, or the context's tenant.</summary>
    /// <param name="info">The row's type.</param>
    /// <param name="value">The root's scope property's value.</param>
    /// <param name="ambientScope">The context's tenant.</param>
    /// <exception cref="MissingScopeException">It is null or the CLR default, or no tenant is set.</exception>
    public static string Parent(EncryptedTypeInfo info, object? value, string? ambientScope)
    {
        var scope = info.Scope;
        if (scope.IsAmbient)
        {
            return ambientScope ?? throw new MissingScopeException(
                $"{info.Root.DisplayName()} takes its data key from the context's tenant, but none is set. Set the tenant before saving, or name it in the options: UseTenant(context => ...). Nothing was written.")
            {
                Entity = info.Root.DisplayName(),
            };
        }

        if (scope.PropertyName is null)
        {
            return KeyScope.Global;
        }

        var property = info.ScopeProperty!;
        if (value is null || IsDefault(value) || Equals(value, property.Sentinel) || IsDefault(ProviderValue(property, value)))
        {
            throw new MissingScopeException(
                $"{info.Root.DisplayName()}.{property.Name} chooses the row's data key, but is {(value is null ? "null" : "the default of its type")}. Set it before saving. Nothing was written.")
            {
                Entity = info.Root.DisplayName(),
                Property = property.Name,
            };
        }

        return Of(scope, ProviderValue(property, value));
    }

    /// <summary>The scope that a value of the scope property, as the database returns it, names.</summary>
    public static string Of(ScopeDeclaration scope, object providerValue)
        => scope.Parent == DeclaredScope.Subject ? KeyScope.ForSubject(scope.SubjectName!, providerValue) : KeyScope.ForTenant(providerValue);

    /// <summary>The property's value after its own conversion.</summary>
    public static object ProviderValue(IProperty property, object value)
        => (property.GetTypeMapping().Converter is { } converter && converter.ProviderClrType is var type && (type == typeof(string) || type == typeof(Guid) || type.IsPrimitive)
            ? converter.ConvertToProvider(value)
            : value) ?? value;

    /// <summary>Whether a tenant or subject is the default of its type, which no row can mean.</summary>
    public static bool IsDefault(object value) => value switch
    {
        string text => text.Length == 0,
        Guid guid => guid == Guid.Empty,
        Enum number => Convert.ToInt64(number, System.Globalization.CultureInfo.InvariantCulture) == 0,
        IConvertible number => number.ToDecimal(System.Globalization.CultureInfo.InvariantCulture) == 0,
        _ => false,
    };
}
